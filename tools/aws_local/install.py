"""Puts the servers into virtual environments beside the builds, pinned by version and hash."""

import fcntl
import os
import shutil
import subprocess
import sys
from glob import glob

from .places import HERE, Problem, installed

# The interpreters that each server runs on: the oldest that its pins allow, and the newest known good.
SERVERS = {"ministack": ((3, 11), (3, 99)), "moto": ((3, 11), (3, 99))}
EXTRA = {"localstack": ((3, 12), (3, 13))}


def install(with_s3=False):
    """Installs what is missing or pinned anew; does nothing, quickly, where all is there."""
    wanted = {**SERVERS, **(EXTRA if with_s3 else {})}
    missing = [name for name in wanted if not is_current(name)]
    if not missing:
        return
    installed().mkdir(parents=True, exist_ok=True)
    with open(installed() / "install.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in missing:
            # Another process may have been quicker.
            if not is_current(name):
                install_one(name, *wanted[name])


def pins(name):
    return HERE / "requirements" / f"{name}.txt"


def marker(name):
    """A copy of the pins, written when all of them are installed."""
    return installed() / name / "installed"


def is_current(name):
    try:
        return marker(name).read_bytes() == pins(name).read_bytes()
    except FileNotFoundError:
        return False


def install_one(name, oldest, newest):
    home = installed() / name
    if not (home / "bin" / "python").exists():
        print(f"installing {name} into {home}", file=sys.stderr)
        run([find_python(oldest, newest), "-m", "venv", "--clear", home])
    pip = [home / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run([*pip, "--require-hashes", "--requirement", pins(name)])
    shutil.copyfile(pins(name), marker(name))


def run(command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise Problem(f"this failed, see above: {words}")


def find_python(oldest, newest):
    """An interpreter between two versions that can make virtual environments."""
    minors = range(min(newest[1], 20), oldest[1] - 1, -1)
    managers = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")
    candidates = [sys.executable]
    candidates += filter(None, (shutil.which(f"python3.{minor}") for minor in minors))
    for minor in minors:
        candidates += sorted(glob(f"{managers}/versions/3.{minor}.*/bin/python3"))
    for candidate in candidates:
        if oldest <= version_of(candidate) <= newest:
            return candidate
    dotted = ".".join(map(str, oldest))
    raise Problem(f"no Python {dotted} or later with venv and pip here: install one (python3-venv on Debian)")


def version_of(interpreter):
    """Its version, or one that fits nothing where it cannot make virtual environments."""
    program = "import ensurepip, sys, venv; print(*sys.version_info[:2])"
    asked = subprocess.run([interpreter, "-c", program], capture_output=True, text=True)
    return tuple(map(int, asked.stdout.split())) if asked.returncode == 0 else (0, 0)
