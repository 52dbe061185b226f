"""Where things lie, and the words for what goes wrong."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent

# What MiniStack and moto both have to be told, lest their ARNs differ.
ACCOUNT = "123456789012"
REGION = "us-east-1"


class Problem(Exception):
    """What a person can put right: one line that says how."""


def builds():
    """The folder of the builds, found as tools/lib/setup.sh finds it."""
    for name in ("CARGO_TARGET_DIR", "PODRUN_TARGET_DIR"):
        if os.environ.get(name):
            return (REPOSITORY / os.environ[name]).resolve()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "podrun" / "target"


def installed():
    """The folder of the installed servers."""
    return builds() / "aws-local"


def python_of(server):
    """The interpreter that a server is installed for."""
    path = installed() / server / "bin" / "python"
    if not path.exists():
        flag = " --s3" if server == "localstack" else ""
        raise Problem(f"{server} is not installed: run tools/aws-local install{flag}")
    return path


def default_state():
    """Where `up` keeps what `down`, `status` and `reset` need."""
    return installed() / "up"
