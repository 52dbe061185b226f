"""Keeps a stack running in a process of its own, and finds it again."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from . import servers
from .places import HERE, Problem
from .stack import Options, Stack, load

STOP_SECONDS = 30


def serve(state, options, detached):
    """Runs a stack until standard input closes or a signal comes; says where it is in one line.

    Lines of standard input are orders: `restart NAME` is answered by one line of JSON.
    """
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: ending.set())
    with folder(state) as home, held(home):
        stack = Stack(Options(state=home, **options))
        # The orders are read from the start on: whoever asked may be gone before all is up.
        if not detached:
            threading.Thread(target=obey, args=(stack, ending), daemon=True).start()
        try:
            run(stack, home, ending)
        finally:
            stack.stop()
            (home / "state.json").unlink(missing_ok=True)
    return 0


def run(stack, home, ending):
    started = threading.Thread(target=start, args=(stack, home, ending), daemon=True)
    started.start()
    ending.wait()
    # Nothing may start once the stopping has begun.
    started.join(servers.START_SECONDS)
    if stack.problem:
        raise stack.problem


def start(stack, home, ending):
    try:
        stack.start()
    except Exception as error:
        stack.problem = error
        ending.set()
        return
    written = home / "state.json.new"
    written.write_text(json.dumps(stack.describe()))
    written.rename(home / "state.json")
    say(stack.describe())


def obey(stack, ending):
    for line in lines():
        words = line.split()
        try:
            if words[:1] != ["restart"] or len(words) != 2:
                raise Problem(f"no such order: {line.strip()!r}; there is: restart NAME")
            stack.restart(words[1])
            say({"restarted": words[1]})
        except (Problem, KeyError) as error:
            say({"error": str(error)})
    ending.set()


def lines():
    """Lines of standard input, read past Python's buffer: its lock would outlive the main thread."""
    rest = b""
    while piece := os.read(0, 4096):
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)


def say(answer):
    print(json.dumps(answer), flush=True)


@contextmanager
def folder(state):
    """The folder of a stack: one that is kept, or one of its own that goes away."""
    if state is not None:
        state.mkdir(parents=True, exist_ok=True)
        yield state.absolute()
        return
    own = Path(tempfile.mkdtemp(prefix="podrun-aws-"))
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def held(state):
    """Holds the folder's lock: it is what tells a running stack from what one left behind."""
    with open(state / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem(f"a stand-in runs in {state} already: tools/aws-local down") from None
        yield


def is_held(state):
    try:
        with open(state / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False


def running(state):
    """What the stack of a folder said of itself, where it runs."""
    if is_held(state):
        try:
            return load(state)
        except FileNotFoundError:
            pass
    raise Problem("no stand-in runs: start one with tools/aws-local up")


def up(state, options):
    """Starts a stack in the background, or finds the one that runs."""
    if is_held(state):
        return running(state)
    state.mkdir(parents=True, exist_ok=True)
    for old in ("logs", "jobs", "home", "ministack", "localstack"):
        shutil.rmtree(state / old, ignore_errors=True)
    with open(state / "supervisor.log", "wb") as log:
        command = [sys.executable, HERE.parent / "aws-local", "serve", "--state", state, "--detached"]
        process = subprocess.Popen(
            [*command, *arguments(options)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    line = process.stdout.readline()
    if not line:
        process.wait()
        raise Problem(f"the stand-in did not start: {servers.tail(state / 'supervisor.log')}")
    return json.loads(line)


def arguments(options):
    """The command line that gives `serve` these options."""
    words = []
    for name in ("ministack_port", "moto_port", "batch_port"):
        words += [f"--{name.replace('_', '-')}", str(options[name])]
    words += [f"--{name}" for name in ("persist", "faults", "s3") if options[name]]
    words += [f"--job-env={pair}" for pair in options["job_environment"]]
    words += [f"--batch={argument[2:]}" for argument in options["batch_arguments"]]
    return [*words, "--", *options["command"]]


def down(state):
    """Stops the stack of a folder; nothing to do where none runs."""
    deadline = time.monotonic() + STOP_SECONDS
    if is_held(state):
        os.kill(running(state)["pid"], signal.SIGTERM)
    while is_held(state):
        if time.monotonic() > deadline:
            raise Problem(f"the stand-in in {state} does not end")
        time.sleep(0.05)


def status(state):
    """Prints every server and whether it answers; 1 where one does not, or none runs."""
    try:
        described = running(state)
    except Problem as problem:
        print(problem)
        return 1
    worst = 0
    for name, url in described["servers"].items():
        well = servers.answers(url)
        worst = worst if well else 1
        print(f"{name:17} {url}  {'answers' if well else 'DOES NOT ANSWER'}")
    print(f"state and logs    {described['state']}")
    return worst
