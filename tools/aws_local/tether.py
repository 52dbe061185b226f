"""Runs somebody else's server so that it cannot outlive whoever started it.

usage: PYTHON tether.py MODULE:FUNCTION [ARGUMENT...]   with a pipe as standard input, as the leader of
a process group

The pipe closes when the starter ends, however it ends. A thread sees that and ends the whole process
group: the server and what it started. It works where no signal of a dying parent exists.
"""

import importlib
import os
import signal
import sys
import threading
import time

# Long enough for a server to write down what it holds.
GRACE = 3.0


def end_with_parent(grace=GRACE):
    """Ends this process group once standard input closes."""
    if os.getpgrp() != os.getpid():
        raise SystemExit("a tethered program must lead its process group")
    threading.Thread(target=watch, args=(grace,), daemon=True).start()


def watch(grace):
    try:
        while os.read(0, 4096):
            pass
    except OSError:
        pass
    os.killpg(0, signal.SIGTERM)
    time.sleep(grace)
    os.killpg(0, signal.SIGKILL)


def main():
    module, _, function = sys.argv[1].partition(":")
    # This file's folder is no place to import from: it has names of its own.
    sys.path.pop(0)
    sys.argv = sys.argv[1:]
    end_with_parent()
    sys.exit(getattr(importlib.import_module(module), function)())


if __name__ == "__main__":
    main()
