"""Jobs and what is told of them."""

import time
import uuid
from collections import Counter

from ..places import ACCOUNT, REGION

STATES = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED", "FAILED")
WAITING = ("SUBMITTED", "PENDING", "RUNNABLE")
ENDED = ("SUCCEEDED", "FAILED")


def milliseconds():
    return int(time.time() * 1000)


class Job:
    """A plain job, an array's parent, or one of its children."""

    __slots__ = (
        "attempts", "children", "container", "created", "id", "index", "name", "number",
        "spec", "started", "state", "state_reason", "stopped", "terminated", "cancelled",
    )  # fmt: skip

    def __init__(self, spec, parent=None, index=None, number=0):
        self.spec = spec
        self.name = spec.name
        self.id = str(uuid.uuid4()) if parent is None else f"{parent.id}:{index}"
        self.index, self.number = index, number
        self.created = milliseconds()
        self.started = self.stopped = self.state_reason = None
        self.state = "RUNNABLE"
        self.attempts, self.container = [], {}
        self.terminated = self.cancelled = False
        self.children = []
        if parent is None and spec.size:
            self.children = [Job(spec, self, each) for each in range(spec.size)]

    @property
    def arn(self):
        return f"arn:aws:batch:{REGION}:{ACCOUNT}:job/{self.id}"

    @property
    def is_parent(self):
        return bool(self.children)

    def runnables(self):
        """What runs: itself, or its children."""
        return self.children or [self]

    def status(self):
        """Its state; a parent's follows from its children's."""
        if not self.is_parent:
            return self.state
        states = {child.state for child in self.children}
        if not states <= set(ENDED):
            return "PENDING"
        return "FAILED" if "FAILED" in states else "SUCCEEDED"

    def fail(self, reason):
        self.state, self.state_reason, self.stopped = "FAILED", reason, milliseconds()

    def summary(self):
        """The entry of ListJobs."""
        view = {
            "jobId": self.id,
            "jobArn": self.arn,
            "jobName": self.name,
            "jobDefinition": self.spec.definition,
            "createdAt": self.created,
            "status": self.status(),
            "statusReason": self.reason(),
            "startedAt": self.started,
            "stoppedAt": self.ended_at(),
            "container": {key: self.container[key] for key in ("exitCode", "reason") if key in self.container},
            "arrayProperties": self.array_properties(),
        }
        return {key: value for key, value in view.items() if value not in (None, {})}

    def detail(self):
        """The entry of DescribeJobs."""
        spec = self.spec
        view = {
            **self.summary(),
            "jobQueue": spec.queue,
            "attempts": self.attempts,
            "dependsOn": [],
            "retryStrategy": spec.retry,
            "timeout": {"attemptDurationSeconds": spec.timeout} if spec.timeout else None,
            "platformCapabilities": [spec.platform],
            "isCancelled": self.cancelled,
            "isTerminated": self.terminated,
            "container": {
                "image": spec.image,
                "command": spec.command,
                "environment": [{"name": name, "value": value} for name, value in spec.environment.items()],
                "resourceRequirements": spec.requirements,
                **self.container,
            },
        }
        return {key: value for key, value in view.items() if value is not None}

    def reason(self):
        if self.is_parent and self.status() == "FAILED":
            return "Array Child Job failed"
        return self.state_reason

    def ended_at(self):
        if self.is_parent and self.status() in ENDED:
            return max(child.stopped for child in self.children)
        return self.stopped

    def array_properties(self):
        if self.is_parent:
            counts = Counter(child.state for child in self.children)
            return {"size": len(self.children), "statusSummary": {state: counts[state] for state in STATES}}
        return {} if self.index is None else {"index": self.index}


class Jobs:
    """All jobs, in the order of submission."""

    def __init__(self):
        self.by_id = {}

    def add(self, job):
        job.number = len(self.by_id)
        self.by_id[job.id] = job

    def find(self, job_id):
        """A job or a child by its id, or None."""
        parent_id, _, index = job_id.partition(":")
        job = self.by_id.get(parent_id)
        if job is None or not index:
            return job
        known = index.isdigit() and int(index) < len(job.children)
        return job.children[int(index)] if known else None

    def of_queue(self, name):
        """Newest first, as ListJobs gives them."""
        found = [job for job in self.by_id.values() if job.spec.queue.split("/")[-1] == name]
        return list(reversed(found))

    def runnables(self):
        return [each for job in self.by_id.values() for each in job.runnables()]
