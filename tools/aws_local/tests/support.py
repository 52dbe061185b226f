"""What the tests share."""

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from ..stack import Options, Stack

PATIENCE = 60.0


@contextmanager
def running_stack(command, batch_arguments=(), **options):
    """All servers, in a folder of their own."""
    with tempfile.TemporaryDirectory() as state:
        stack = Stack(Options(Path(state), command=command, batch_arguments=list(batch_arguments), **options))
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


def until(ask, wanted):
    """Asks until the answer is as wanted, and returns it."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = ask()
        if wanted(answer):
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"still {answer!r}")
        time.sleep(0.02)
