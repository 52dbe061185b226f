"""All servers together: started, described, reset, stopped."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import resources, servers, wire
from .places import REGION, Problem, builds

# Free ports are found by trying, so another program may take one in between.
STARTS = 3


@dataclass
class Options:
    """What a stack is started with."""

    state: Path
    ministack_port: int = 0
    moto_port: int = 0
    batch_port: int = 0
    persist: bool = False
    faults: bool = False
    s3: bool = False
    command: list = field(default_factory=list)
    job_environment: list = field(default_factory=list)
    batch_arguments: list = field(default_factory=list)


class Stack:
    """Running servers by name, in the order of their start."""

    def __init__(self, options):
        self.options = options
        self.running = {}
        # What kept it from starting.
        self.problem = None

    def start(self):
        options, listed = self.options, resources.listed()
        with ThreadPoolExecutor(3) as threads:
            started = [threads.submit(self.start_ministack), threads.submit(self.start_moto)]
            if options.s3:
                started.append(threads.submit(self.start_localstack))
            for each in started:
                each.result()
        with ThreadPoolExecutor(3) as threads:
            made = [
                threads.submit(self.make_stores, listed),
                threads.submit(resources.make_batch, self.url("moto"), listed),
            ]
            if options.faults:
                self.add_proxy("ministack", self.url("ministack"))
            self.start_batch()
            for each in made:
                each.result()
        if options.faults:
            self.add_proxy("batch", self.url("batch"))

    def url(self, name):
        return self.running[name].url

    def start_ministack(self):
        options = self.options
        self.start_retrying(
            lambda: servers.start_ministack(options.state, options.ministack_port, options.persist),
            "/_ministack/health",
            fixed=options.ministack_port,
        )

    def start_moto(self):
        options = self.options
        self.start_retrying(
            lambda: servers.start_moto(options.state, options.moto_port),
            "/moto-api/",
            fixed=options.moto_port,
        )

    def start_localstack(self):
        self.start_retrying(
            lambda: servers.start_localstack(self.options.state, 0), "/_localstack/health", fixed=0
        )

    def start_retrying(self, start, health, fixed):
        for attempt in range(STARTS):
            server = start()
            self.running[server.name] = server
            try:
                return server.wait_until_answers(health)
            except Problem:
                server.stop()
                if fixed or attempt + 1 == STARTS:
                    raise

    def make_stores(self, listed):
        resources.make_stores(self.url("ministack"), listed)
        if self.options.s3:
            for bucket in listed["buckets"]:
                resources.make_bucket(self.url("localstack"), bucket)

    def add_proxy(self, name, upstream):
        proxy = servers.start_own("fault_proxy", f"{name}-faults", ["--upstream", upstream], self.options.state)
        self.running[proxy.name] = proxy

    def start_batch(self):
        options = self.options
        arguments = ["--port", str(options.batch_port), "--upstream", self.url("moto")]
        arguments += ["--state", str(options.state), *options.batch_arguments]
        for name, value in self.environment().items():
            arguments += ["--env", f"{name}={value}"]
        for pair in options.job_environment:
            arguments += ["--env", pair]
        arguments += ["--", *(options.command or [default_program()])]
        self.running["batch"] = servers.start_own("batch_server", "batch", arguments, options.state)

    def restart(self, name):
        """Stops one server and starts it again at its address; its data stays where it persists."""
        server = self.running.get(name)
        if name not in ("ministack", "moto"):
            raise Problem(f"cannot restart {name!r}: only ministack and moto")
        server.stop()
        if name == "ministack":
            again = servers.start_ministack(self.options.state, server.port, self.options.persist)
        else:
            again = servers.start_moto(self.options.state, server.port)
        self.running[name] = again
        again.wait_until_answers("/_ministack/health" if name == "ministack" else "/moto-api/")

    def endpoint(self, name):
        """Where clients reach a server: through the fault proxy where there is one."""
        proxy = self.running.get(f"{name}-faults")
        return (proxy or self.running[name]).url

    def environment(self):
        """What a client has to be told, in the names that every AWS SDK reads."""
        moto = self.url("moto")
        variables = {
            "PODRUN_TARGET": "aws",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint("ministack"),
            **{f"AWS_ENDPOINT_URL_{name}": moto for name in ("EC2", "ECR", "IAM", "STS")},
        }
        if "batch" in self.running:
            variables["AWS_ENDPOINT_URL_BATCH"] = self.endpoint("batch")
            variables["AWS_EC2_METADATA_DISABLED"] = "true"
        if "localstack" in self.running:
            variables["AWS_ENDPOINT_URL_S3"] = self.url("localstack")
        return variables

    def describe(self):
        """Everything that a client or a test may want to know, as one object."""
        return {
            "pid": os.getpid(),
            "pids": {name: server.process.pid for name, server in self.running.items()},
            "state": str(self.options.state),
            "env": self.environment(),
            "servers": {name: server.url for name, server in self.running.items()},
            "logs": str(self.options.state / "logs"),
            "jobs": str(self.options.state / "jobs"),
        }

    def stop(self):
        with ThreadPoolExecutor(8) as threads:
            for stopped in [threads.submit(server.stop) for server in self.running.values()]:
                stopped.result()
        self.running.clear()


def default_program():
    """The podrun that was built last."""
    names = [builds() / profile / "podrun" for profile in ("debug", "release")]
    built = [path for path in names if path.exists()]
    if built:
        return str(max(built, key=lambda path: path.stat().st_mtime))
    return shutil.which("podrun") or str(names[0])


def reset(described):
    """Empties running servers and makes the project's resources again."""
    urls, listed = described["servers"], resources.listed()
    for name in urls:
        if name.endswith("-faults"):
            wire.call(urls[name] + "/_faults/rules", "local", method="DELETE")
    wire.call(urls["batch"] + "/_local/reset", "local")
    wire.call(urls["moto"] + "/moto-api/reset", "local")
    wire.call(urls["ministack"] + "/_ministack/reset", "local")
    resources.make_stores(urls["ministack"], listed)
    if "localstack" in urls:
        wire.call(urls["localstack"] + "/_localstack/state/reset", "local")
        for bucket in listed["buckets"]:
            resources.make_bucket(urls["localstack"], bucket)
    resources.make_batch(urls["moto"], listed)


def load(state):
    """What a running stack said of itself."""
    return json.loads((state / "state.json").read_text())
