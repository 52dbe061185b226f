"""Starts one server, waits until it answers, and ends it."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

from .places import ACCOUNT, HERE, REGION, Problem, python_of
from .wire import opener

LOOPBACK = "127.0.0.1"
# A first start compiles thousands of Python files, perhaps on a busy machine.
START_SECONDS = 120
STOP_SECONDS = 5


class Server:
    """A running server: its process, its address and its log."""

    def __init__(self, name, process, port, log):
        self.name, self.process, self.port, self.log = name, process, port, log

    @property
    def url(self):
        return f"http://{LOOPBACK}:{self.port}"

    def ended(self):
        return self.process.poll() is not None

    def stop(self):
        """Closes its standard input, which ends it and all that it started; then makes sure."""
        self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def wait_until_answers(self, path):
        deadline = time.monotonic() + START_SECONDS
        while not answers(self.url + path):
            if self.ended() or time.monotonic() > deadline:
                raise Problem(f"{self.name} did not start; its log ends with:\n{tail(self.log)}")
            time.sleep(0.02)


def answers(url):
    try:
        with opener.open(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def tail(log, lines=20):
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def start_ministack(state, port, persist):
    port = port or free_port()
    stored = {
        "PERSIST_STATE": "1",
        "STATE_DIR": str(state / "ministack" / "state"),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "ministack" / "s3"),
    }
    settings = {
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "LOG_LEVEL": "WARNING",
        **(stored if persist else {}),
    }
    settings["PYTHONPATH"] = str(HERE.parent)
    return tethered("ministack", "aws_local.mend_ministack:main", [], state, settings, port)


def start_moto(state, port):
    port = port or free_port()
    settings = {"MOTO_IAM_LOAD_MANAGED_POLICIES": "true", "MOTO_ACCOUNT_ID": ACCOUNT}
    return tethered("moto", "moto.server:main", ["-H", LOOPBACK, "-p", str(port)], state, settings, port)


def start_localstack(state, port):
    port = port or free_port()
    settings = {
        "GATEWAY_LISTEN": f"{LOOPBACK}:{port}",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DISABLE_EVENTS": "1",
        "DNS_ADDRESS": "0",
        "FILESYSTEM_ROOT": str(state / "localstack"),
    }
    return tethered("localstack", "localstack.runtime.main:main", [], state, settings, port)


def tethered(server, entry, arguments, state, settings, port):
    """Starts an installed server in a home of its own: it must not see the user's AWS configuration."""
    home = state / "home"
    home.mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "PYTHONUNBUFFERED": "1",
        **settings,
    }
    command = [python_of(server), HERE / "tether.py", entry, *arguments]
    process, log = spawn(server, command, state, environment, stdout=None)
    return Server(server, process, port, log)


def start_own(module, name, arguments, state):
    """Starts a server of ours, which picks its port and says it in its first line."""
    command = [sys.executable, "-m", f"aws_local.{module}", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    process, log = spawn(name, command, state, environment, stdout=subprocess.PIPE)
    line = process.stdout.readline().decode()
    if not line.startswith("listening "):
        process.wait()
        raise Problem(f"{name} did not start; its log ends with:\n{tail(log)}")
    return Server(name, process, int(line.split()[1]), log)


def spawn(name, command, state, environment, stdout):
    logs = state / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / f"{name}.log"
    with open(log, "ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=out if stdout is None else stdout,
            stderr=subprocess.STDOUT if stdout is None else out,
            env=environment,
            cwd=state,
            start_new_session=True,
        )
    return process, log
