"""The job calls of Batch through boto3, with shell scripts for containers."""

import json
import os
import unittest
import urllib.error

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from .. import wire
from .support import running_stack, until

SPOT = {"onStatusReason": "Your Spot Task was interrupted*", "action": "RETRY"}
HOST = {"onStatusReason": "Host EC2*", "action": "RETRY"}
EXIT = {"onReason": "*", "action": "EXIT"}
QUEUE = "podrun-fetch"
# Says that it is ready, then waits, and hands back when it is asked to.
PATIENT = "trap 'echo asked; exit 75' TERM; echo ready; while :; do sleep 0.02; done"
STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.02; done"


class Batch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stack = cls.enterClassContext(
            running_stack(
                ["/bin/sh", "-c"],
                ["--stop-timeout", "0.4", "--notice", "0.3", "--linger", "0.5", "--min-timeout", "1", "--slots", "6"],
            )
        )
        cls.url = cls.stack.url("batch")
        cls.batch = boto3.client("batch", endpoint_url=cls.url, region_name="us-east-1",
                                 aws_access_key_id="test", aws_secret_access_key="test",
                                 config=Config(retries={"total_max_attempts": 1}))  # fmt: skip

    def submit(self, script, queue=QUEUE, name="test", **more):
        more.setdefault("retryStrategy", {"attempts": 1})
        job = self.batch.submit_job(
            jobName=name, jobQueue=queue, jobDefinition=queue, containerOverrides={"command": [script]}, **more
        )
        return job["jobId"]

    def job(self, job_id):
        return self.batch.describe_jobs(jobs=[job_id])["jobs"][0]

    def ended(self, job_id):
        return until(lambda: self.job(job_id), lambda job: job["status"] in ("SUCCEEDED", "FAILED"))

    def running(self, job_id, text=b"ready"):
        """Waits until a job's process has said something."""
        return until(lambda: self.log(job_id), lambda log: text in log)

    def log(self, job_id):
        return wire.opener.open(f"{self.url}/_local/logs/{job_id}").read()

    def local(self, page, **body):
        return wire.rest_call(self.url, "local", f"/_local/{page}", body)

    def look(self, page):
        return json.load(wire.opener.open(f"{self.url}/_local/{page}"))

    def refused(self, words, call, **arguments):
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        self.assertEqual(caught.exception.response["Error"]["Code"], "ClientException")
        self.assertIn(words, str(caught.exception))

    def test_an_array_runs_a_process_for_each_child(self):
        script = 'echo "$AWS_BATCH_JOB_ARRAY_INDEX $AWS_BATCH_JOB_ID $AWS_BATCH_CE_NAME"'
        parent = self.submit(script, arrayProperties={"size": 20}, name="array")
        job = self.ended(parent)
        self.assertEqual(job["arrayProperties"]["statusSummary"]["SUCCEEDED"], 20)
        self.assertEqual(self.log(f"{parent}:7"), f"7 {parent}:7 podrun-fetch\n".encode())
        child = self.job(f"{parent}:7")
        self.assertEqual((child["arrayProperties"], child["status"]), ({"index": 7}, "SUCCEEDED"))
        listed = self.batch.list_jobs(arrayJobId=parent, jobStatus="SUCCEEDED", maxResults=15)
        rest = self.batch.list_jobs(
            arrayJobId=parent, jobStatus="SUCCEEDED", maxResults=15, nextToken=listed["nextToken"]
        )
        self.assertEqual(len(listed["jobSummaryList"]) + len(rest["jobSummaryList"]), 20)
        self.assertEqual(self.batch.list_jobs(arrayJobId=parent)["jobSummaryList"], [], "RUNNING by default")

    def test_a_container_sees_only_what_it_is_given(self):
        os.environ["OF_THE_DEVELOPER"] = "1"
        overrides = {"command": ["env"], "environment": [{"name": "GIVEN", "value": "a b"}]}
        job = self.batch.submit_job(
            jobName="env", jobQueue=QUEUE, jobDefinition=QUEUE, containerOverrides=overrides
        )["jobId"]
        self.ended(job)
        seen = self.log(job).decode()
        self.assertIn("GIVEN=a b\n", seen)
        self.assertIn("AWS_BATCH_JOB_ATTEMPT=1\n", seen)
        self.assertIn(f"AWS_ENDPOINT_URL={self.stack.url('ministack')}\n", seen)
        self.assertNotIn("OF_THE_DEVELOPER", seen)
        self.assertNotIn("ARRAY_INDEX", seen)

    def test_attempts_follow_the_rules(self):
        rules = {"attempts": 3, "evaluateOnExit": [{"onExitCode": "75", "action": "RETRY"}, EXIT]}
        again = self.ended(self.submit("exit $((75 * ($AWS_BATCH_JOB_ATTEMPT < 2)))", retryStrategy=rules))
        self.assertEqual([each["container"]["exitCode"] for each in again["attempts"]], [75, 0])
        self.assertEqual(again["status"], "SUCCEEDED")
        once = self.ended(self.submit("exit 3", retryStrategy=rules))
        self.assertEqual((once["status"], len(once["attempts"])), ("FAILED", 1))
        always = self.ended(self.submit("exit 75", retryStrategy=rules))
        self.assertEqual((always["status"], len(always["attempts"])), ("FAILED", 3))

    def test_fargate_spot_asks_and_starts_anew(self):
        job = self.submit(f'[ "$AWS_BATCH_JOB_ATTEMPT" = 2 ] || {{ {PATIENT}; }}',
                          retryStrategy={"attempts": 2, "evaluateOnExit": [SPOT, EXIT]})  # fmt: skip
        self.running(job)
        self.assertEqual(self.local("interrupt", jobs=[job]), {"jobs": [job], "instances": []})
        first = self.ended(job)["attempts"][0]
        self.assertEqual(first["statusReason"], "Your Spot Task was interrupted.")
        self.assertEqual(first["container"]["exitCode"], 75)
        self.assertIn(b"asked", self.log(job))

    def test_ec2_spot_announces_itself_and_takes_the_instance(self):
        job = self.submit(f'echo "$AWS_EC2_METADATA_SERVICE_ENDPOINT"; {STUBBORN}', "podrun-transcribe",
                          retryStrategy={"attempts": 2, "evaluateOnExit": [HOST, EXIT]})  # fmt: skip
        metadata = self.running(job).decode().split()[0] + "/latest"
        self.assertEqual(self.status_of(f"{metadata}/meta-data/spot/instance-action"), 401)
        ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        token = wire.call(f"{metadata}/api/token", "local", "PUT", ttl).decode()
        header = {"X-aws-ec2-metadata-token": token}
        self.assertEqual(self.status_of(f"{metadata}/meta-data/spot/instance-action", header), 404)
        instance = wire.call(f"{metadata}/meta-data/instance-id", "local", "GET", header).decode()
        self.assertEqual(self.local("interrupt", jobs=[job])["instances"], [instance])
        action = wire.call(f"{metadata}/meta-data/spot/instance-action", "local", "GET", header)
        self.assertIn(b'"terminate"', action)
        job_now = until(lambda: self.job(job), lambda job: len(job["attempts"]) == 1)
        first = job_now["attempts"][0]
        self.assertEqual(first["statusReason"], f"Host EC2 (instance {instance}) terminated.")
        self.assertNotIn("exitCode", first["container"], "the host is gone, and so is what it knew")
        until(lambda: self.job(job), lambda job: job["status"] == "RUNNING")
        elsewhere = [each["instanceId"] for each in self.look("running")["running"] if each["jobId"] == job]
        self.assertNotEqual(elsewhere, [instance])
        self.batch.terminate_job(jobId=job, reason="test")
        self.ended(job)

    def status_of(self, url, headers=()):
        try:
            wire.call(url, "local", "GET", headers)
        except wire.Refused as refused:
            return refused.status
        return 200

    def test_who_ignores_sigterm_is_killed(self):
        job = self.submit(STUBBORN)
        self.running(job)
        self.batch.terminate_job(jobId=job, reason="frozen")
        ended = self.ended(job)
        self.assertEqual((ended["statusReason"], ended["container"]["exitCode"]), ("frozen", 137))
        self.assertTrue(ended["isTerminated"])

    def test_a_timeout_is_never_retried(self):
        job = self.submit("sleep 30", timeout={"attemptDurationSeconds": 1}, retryStrategy={"attempts": 3})
        ended = self.ended(job)
        self.assertEqual((ended["status"], len(ended["attempts"])), ("FAILED", 1))
        self.assertIn("timeout", ended["statusReason"])

    def test_cancel_leaves_what_runs_and_terminate_does_not(self):
        parent = self.submit(PATIENT, arrayProperties={"size": 8})
        counts = lambda: self.job(parent)["arrayProperties"]["statusSummary"]  # noqa: E731
        until(counts, lambda summary: summary["RUNNING"] == 6)
        self.batch.cancel_job(jobId=parent, reason="changed my mind")
        self.assertEqual((counts()["RUNNING"], counts()["FAILED"]), (6, 2))
        self.running(f"{parent}:0")
        self.batch.terminate_job(jobId=parent, reason="frozen")
        self.batch.terminate_job(jobId=parent, reason="frozen again")
        job = self.ended(parent)
        self.assertEqual((job["status"], job["arrayProperties"]["statusSummary"]["FAILED"]), ("FAILED", 8))
        self.assertEqual(self.job(f"{parent}:0")["statusReason"], "frozen")
        self.assertEqual(self.job(f"{parent}:7")["statusReason"], "changed my mind")

    def test_slots_bound_the_processes(self):
        parent = self.submit("sleep 0.1", arrayProperties={"size": 20})
        most = 0
        while self.job(parent)["status"] == "PENDING":
            most = max(most, len(self.look("running")["running"]))
        self.assertLessEqual(most, 6)
        self.assertGreater(most, 0)

    def test_what_batch_refuses_is_refused(self):
        submit = self.submit
        for size in (1, 10_001):
            self.refused("between 2 and 10000", submit, script="", arrayProperties={"size": size})
        self.refused("8192", submit, script="x" * 8200)
        self.refused("payload", submit, script="", tags={f"t{n}": "x" * 200 for n in range(200)})
        self.refused("jobName", submit, script="", name="no spaces")
        self.refused("not found", submit, script="", queue="nowhere")
        self.refused("at least", submit, script="", timeout={"attemptDurationSeconds": 0})
        self.refused("attempts", submit, script="", retryStrategy={"attempts": 11})
        self.refused("at most 100", self.batch.describe_jobs, jobs=[str(n) for n in range(101)])
        self.batch.update_job_queue(jobQueue=QUEUE, state="DISABLED")
        self.addCleanup(self.batch.update_job_queue, jobQueue=QUEUE, state="ENABLED")
        self.refused("disabled", submit, script="")

    def test_jobs_are_found_by_name_whatever_their_state(self):
        ids = [self.submit("true", name=name) for name in ("by-name-1", "by-name-10", "BY-NAME-1")]
        for job in ids:
            self.ended(job)
        find = lambda value: [  # noqa: E731
            each["jobId"]
            for each in self.batch.list_jobs(jobQueue=QUEUE, filters=[{"name": "JOB_NAME", "values": [value]}])[
                "jobSummaryList"
            ]
        ]
        self.assertEqual(sorted(find("by-name-1")), sorted([ids[0], ids[2]]), "case is ignored")
        self.assertEqual(len(find("by-name-1*")), 3)
        self.assertEqual(find("by-name-2"), [])

    def test_instances_outlive_their_jobs_and_are_never_scaled_down_by_hand(self):
        name = "podrun-transcribe"
        until(lambda: self.desired(name), lambda vcpus: vcpus == 0)
        job = self.submit(PATIENT, name)
        self.running(job)
        self.assertEqual(self.desired(name), 4)
        self.refused("scaling down", self.batch.update_compute_environment, computeEnvironment=name,
                     computeResources={"desiredvCpus": 0})  # fmt: skip
        self.batch.terminate_job(jobId=job, reason="test")
        self.ended(job)
        self.assertEqual(self.desired(name), 4, "the instance idles on")
        until(lambda: self.desired(name), lambda vcpus: vcpus == 0)

    def desired(self, name):
        found = self.batch.describe_compute_environments(computeEnvironments=[name])
        return found["computeEnvironments"][0]["computeResources"]["desiredvCpus"]

    def test_a_quota_of_nothing_holds_jobs_with_a_reason(self):
        name = "podrun-transcribe"
        until(lambda: self.desired(name), lambda vcpus: vcpus == 0)
        self.local("quota", computeEnvironment=name, vcpus=0)
        job = self.submit("true", name)
        held = until(lambda: self.job(job), lambda job: "statusReason" in job)
        self.assertEqual(held["status"], "RUNNABLE")
        self.assertIn("INSUFFICIENT_INSTANCE_CAPACITY", held["statusReason"])
        # Another queue goes on.
        self.assertEqual(self.ended(self.submit("true"))["status"], "SUCCEEDED")
        self.local("quota", computeEnvironment=name, vcpus=None)
        self.assertEqual(self.ended(job)["status"], "SUCCEEDED")

    def test_a_disabled_environment_places_nothing(self):
        name = "podrun-transcribe"
        self.batch.update_compute_environment(computeEnvironment=name, state="DISABLED")
        job = self.submit("true", name)
        # Another queue's later job has been and gone: the scheduler has looked at this one.
        self.ended(self.submit("true"))
        self.assertEqual(self.job(job)["status"], "RUNNABLE")
        self.batch.update_compute_environment(computeEnvironment=name, state="ENABLED")
        self.assertEqual(self.ended(job)["status"], "SUCCEEDED")

    def test_logs_of_unknown_jobs_are_not_found(self):
        with self.assertRaises(urllib.error.HTTPError):
            self.log("nobody")


if __name__ == "__main__":
    unittest.main()
