"""A container is a process here: its environment, its log, its stopping."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

# What a process on this machine cannot do without; a container has it from its image.
INHERITED = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


class Container:
    """One attempt's process, in a group of its own, writing to a log of its own."""

    def __init__(self, command, environment, log, reaper):
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "wb") as out:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**inherited, **environment},
                cwd=log.parent,
                start_new_session=True,
            )
        self.log, self.reaper = log, reaper
        reaper.add(self.process.pid)
        self.killer = None

    def wait(self, seconds=None):
        """Its exit code as a container's: 128 + the signal's number; raises TimeoutExpired."""
        code = self.process.wait(seconds)
        if self.killer:
            self.killer.cancel()
        # What the process started ends with it, as a container's processes do.
        self.kill()
        self.reaper.remove(self.process.pid)
        return code if code >= 0 else 128 - code

    def stop(self, grace):
        """SIGTERM to the first process alone, as a container engine sends it; SIGKILL to all after `grace`."""
        if self.killer is None:
            self.killer = threading.Timer(grace, self.kill)
            self.killer.daemon = True
            self.killer.start()
        self.signal(signal.SIGTERM)

    def signal(self, number):
        # The process is ours and not waited for yet, so the id cannot be another's.
        if self.process.poll() is None:
            self.process.send_signal(number)

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


class Reaper:
    """A process that ends all containers when this one is gone, however it went."""

    def __init__(self):
        # It needs no package around it: a plain file.
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("reaper.py")], stdin=subprocess.PIPE, start_new_session=True
        )
        self.lock = threading.Lock()

    def add(self, pid):
        self.tell(f"+{pid}\n")

    def remove(self, pid):
        self.tell(f"-{pid}\n")

    def tell(self, line):
        with self.lock:
            self.process.stdin.write(line.encode())
            self.process.stdin.flush()

    def close(self):
        self.process.stdin.close()
        self.process.wait()
