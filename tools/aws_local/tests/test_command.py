"""The command line: servers start, answer, are found again, and never stay behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from .. import wire
from ..places import HERE
from .support import until

PROGRAM = HERE.parent / "aws-local"


def command(*arguments, **more):
    return subprocess.run([sys.executable, PROGRAM, *arguments], capture_output=True, text=True, **more)


def is_alive(pid):
    """Whether a process runs: one that nobody has waited for yet does not."""
    shown = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return shown.stdout.strip() not in ("", "Z", "Z+", "Zs")


class Serve(unittest.TestCase):
    def start(self):
        serve = subprocess.Popen(
            [sys.executable, PROGRAM, "serve", "--persist", "--", "/bin/sh", "-c"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.addCleanup(serve.stdout.close)
        self.addCleanup(serve.wait)
        self.addCleanup(serve.kill)
        return serve, json.loads(serve.stdout.readline())

    def run_a_job(self, described):
        """Starts a job that never ends; returns its process."""
        overrides = {"command": ["trap '' TERM; while :; do sleep 0.1; done"]}
        body = {"jobName": "endless", "jobQueue": "podrun-fetch", "jobDefinition": "podrun-fetch",
                "containerOverrides": overrides}  # fmt: skip
        batch = described["servers"]["batch"]
        wire.rest_call(batch, "batch", "/v1/submitjob", body)

        def pids():
            running = json.loads(wire.call(f"{batch}/_local/running", "local", "GET"))["running"]
            return [run["pid"] for run in running if run["pid"]]

        return until(pids, bool)

    def test_everything_ends_with_its_starter_even_if_that_is_killed(self):
        for end in (lambda serve: serve.stdin.close(), lambda serve: serve.kill()):
            serve, described = self.start()
            processes = [*described["pids"].values(), *self.run_a_job(described)]
            self.assertEqual(len(processes), 4)
            end(serve)
            until(lambda: [pid for pid in processes if is_alive(pid)], lambda left: not left)
            serve.wait()
            serve.stdin.close()

    def test_a_store_that_persists_outlives_a_restart(self):
        serve, described = self.start()
        store = described["servers"]["ministack"]
        wire.call(f"{store}/pod-insights-raw/key", "s3", "PUT", body=b"kept")
        serve.stdin.write(b"restart ministack\nrestart the-world\n")
        serve.stdin.flush()
        self.assertEqual(json.loads(serve.stdout.readline()), {"restarted": "ministack"})
        self.assertIn("error", json.loads(serve.stdout.readline()))
        self.assertEqual(wire.call(f"{store}/pod-insights-raw/key", "s3", "GET"), b"kept")
        listed = wire.json_call(store, "dynamodb", "DynamoDB_20120810.ListTables", {})
        self.assertEqual(listed["TableNames"], ["podinsights-hosts", "podinsights-status"])
        serve.send_signal(signal.SIGTERM)
        self.assertEqual(serve.wait(), 0)
        serve.stdin.close()


class Up(unittest.TestCase):
    def test_up_is_found_again_emptied_and_taken_down(self):
        with tempfile.TemporaryDirectory() as state:
            here = ("--state", state)
            self.addCleanup(command, "down", *here)
            self.assertEqual(command("status", *here).returncode, 1)
            self.assertIn("no stand-in runs", command("env", *here).stderr)
            self.assertEqual(command("down", *here).returncode, 0, "nothing to do")

            up = command("up", *here)
            self.assertEqual(up.returncode, 0, up.stderr)
            self.assertEqual(command("up", *here).stdout, up.stdout, "a second up finds the first")
            self.assertEqual(command("env", *here).stdout, up.stdout)
            shell = subprocess.run(["/bin/sh", "-c", up.stdout + "env"], capture_output=True, text=True)
            self.assertIn("PODRUN_TARGET=aws\n", shell.stdout)
            described = json.loads(command("env", "--json", *here).stdout)
            self.assertEqual(command("status", *here).returncode, 0)

            store = described["env"]["AWS_ENDPOINT_URL"]
            wire.call(f"{store}/pod-insights-raw/key", "s3", "PUT", body=b"x")
            reset = command("reset", *here)
            self.assertEqual(reset.returncode, 0, reset.stderr)
            with self.assertRaises(wire.Refused):
                wire.call(f"{store}/pod-insights-raw/key", "s3", "GET")
            wire.call(f"{store}/pod-insights-raw/key", "s3", "PUT", body=b"x")

            self.assertEqual(command("down", *here).returncode, 0)
            self.assertFalse([pid for pid in described["pids"].values() if is_alive(pid)])
            self.assertEqual(list(Path(state).glob("state.json")), [])

    def test_a_server_that_cannot_start_is_said_with_its_log(self):
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = str(taken.getsockname()[1])
        with tempfile.TemporaryDirectory() as state:
            failed = command("up", "--state", state, "--ministack-port", port)
            self.assertEqual(failed.returncode, 1)
            self.assertIn("ministack did not start", failed.stderr)
            self.assertIn("already in use", failed.stderr)
            self.assertNotIn("Traceback", failed.stderr)

    def test_what_is_not_installed_is_named(self):
        with tempfile.TemporaryDirectory() as builds:
            environment = {**os.environ, "CARGO_TARGET_DIR": builds}
            failed = command("serve", env=environment, stdin=subprocess.DEVNULL)
            self.assertEqual(failed.returncode, 1)
            self.assertIn("run tools/aws-local install", failed.stderr)
            self.assertNotIn("Traceback", failed.stderr)


if __name__ == "__main__":
    unittest.main()
