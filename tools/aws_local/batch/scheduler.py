"""Places jobs that can run, runs them, and decides what follows an attempt."""

import logging
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from ..places import ACCOUNT, REGION
from . import retry
from .container import Container, Reaper
from .instances import Fleet, suited
from .jobs import ENDED, WAITING, Jobs, milliseconds

EXITED = "Essential container in task exited"
NOT_STARTED = "Task failed to start"
TIMED_OUT = "Job attempt duration exceeded timeout"
FARGATE_RECLAIMED = "Your Spot Task was interrupted."
NO_CAPACITY = (
    "CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - Service cannot fulfill the capacity requested for instance type {}"
)
TOO_LARGE = "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job resource requirement cannot be met by any CE"
# An image of this name cannot be pulled: for tests of the rule that retries that.
MISSING_IMAGE = "missing"
# A scheduler that nobody woke looks again after this long.
IDLE_SECONDS = 1.0


@dataclass
class Settings:
    """What the server is told at its start."""

    command: list
    state: Path
    environment: dict = field(default_factory=dict)
    slots: int = 16
    stop_timeout: float = 30.0
    notice: float = 120.0
    boot: float = 0.0
    linger: float = 5.0


@dataclass
class Running:
    """An attempt in progress."""

    job: object
    environment: str
    instance: object = None
    container: Container = None
    task: str = field(default_factory=lambda: uuid.uuid4().hex)
    # Why it was told to stop, and whether another attempt may follow.
    reason: str = None
    final: bool = False


class Scheduler:
    def __init__(self, settings, catalogue):
        self.settings, self.catalogue = settings, catalogue
        self.jobs, self.running = Jobs(), {}
        # What waits, by id and in order: a job that is begun leaves, one that is retried comes last.
        self.waiting = {}
        self.quotas = {}
        self.fleet = Fleet(settings.boot, settings.linger)
        self.reaper = Reaper()
        # Guards everything above; whoever changes what may be placed notifies.
        self.changed = threading.Condition()
        threading.Thread(target=self.loop, daemon=True).start()

    def add(self, job):
        with self.changed:
            self.jobs.add(job)
            self.waiting |= {each.id: each for each in job.runnables()}
            self.changed.notify_all()

    def loop(self):
        while True:
            try:
                environments = self.catalogue.environments()
            except Exception:
                logging.exception("compute environments are not known")
                environments = {}
            with self.changed:
                waits = [self.place_all(environments), self.fleet.retire(), IDLE_SECONDS]
                self.changed.wait(min(wait for wait in waits if wait is not None))

    def place_all(self, environments):
        """Starts what has room; seconds until an instance that was started for a job is there."""
        waits, blocked = [], set()
        self.fleet.forget_promises()
        for job in list(self.waiting.values()):
            if job.state != "RUNNABLE":
                del self.waiting[job.id]
            elif len(self.running) >= self.settings.slots:
                break
            elif job.spec.queue not in blocked:
                wait = self.place(job, environments)
                if wait == NO_ROOM:
                    # A queue is in order: what is behind does not overtake.
                    blocked.add(job.spec.queue)
                elif wait:
                    waits.append(wait)
        return min(waits, default=None)

    def place(self, job, environments):
        """None: started, or cannot be; a number: wait so long; NO_ROOM: nothing has room now."""
        reason = None
        for name in job.spec.environments:
            environment = environments.get(name)
            if environment is None or environment["state"] != "ENABLED":
                continue
            resources = environment["computeResources"]
            limit = min(resources.get("maxvCpus", 0), self.quotas.get(name, 1 << 30))
            if resources["type"].startswith("FARGATE"):
                if self.used(name) + job.spec.required("VCPU") <= limit:
                    return self.begin(job, name)
                reason = reason or (NO_CAPACITY.format("[Fargate]") if limit == 0 else None)
                continue
            types = resources["instanceTypes"]
            instance = self.fleet.place(name, types, limit, job.spec)
            if instance and instance.is_ready():
                return self.begin(job, name, instance)
            if instance:
                instance.promise(job)
                return max(instance.ready_at - time.monotonic(), 0.001)
            if not suited(types, job.spec):
                reason = TOO_LARGE
            elif not self.fleet.of(name):
                reason = NO_CAPACITY.format(f"[{', '.join(types)}]")
        job.state_reason = reason
        return NO_ROOM

    def used(self, environment):
        return sum(each.job.spec.required("VCPU") for each in self.running.values() if each.environment == environment)

    def begin(self, job, environment, instance=None):
        run = Running(job, environment, instance)
        del self.waiting[job.id]
        job.state, job.state_reason = "STARTING", None
        self.running[job.id] = run
        if instance:
            instance.take(job)
        threading.Thread(target=self.attempt, args=(run,), daemon=True).start()

    def attempt(self, run):
        """One attempt from start to end, on a thread of its own."""
        job, started = run.job, milliseconds()
        number = len(job.attempts) + 1
        code, reason, status_reason = None, None, EXITED
        try:
            if job.spec.image.split("/")[0] == MISSING_IMAGE:
                raise OSError(f"CannotPullContainerError: {job.spec.image}")
            code = self.execute(run, number, started)
        except OSError as error:
            reason = str(error) if "Cannot" in str(error) else f"CannotStartContainerError: {error}"
            status_reason = NOT_STARTED
        with self.changed:
            if run.reason and run.instance and run.instance.reclaimed and not run.final:
                # The host is gone, and what the container said with it.
                code = None
            self.finish(run, number, started, code, reason, run.reason or status_reason)
            self.changed.notify_all()

    def execute(self, run, number, started):
        job = run.job
        log = self.settings.state / "jobs" / job.id.replace(":", ".") / f"{number}.log"
        with self.changed:
            if run.reason:
                return 137
            command = [*self.settings.command, *job.spec.command]
            run.container = Container(command, self.variables(run, number), log, self.reaper)
            job.state, job.started = "RUNNING", started
        try:
            return run.container.wait(job.spec.timeout)
        except subprocess.TimeoutExpired:
            self.stop(run, TIMED_OUT, final=True)
            return run.container.wait()

    def variables(self, run, number):
        """A container's environment: ours, the definition's and the overrides', then what Batch sets."""
        job = run.job
        batch = {
            "AWS_BATCH_JOB_ID": job.id,
            "AWS_BATCH_JOB_ATTEMPT": str(number),
            "AWS_BATCH_JQ_NAME": job.spec.queue.split("/")[-1],
            "AWS_BATCH_CE_NAME": run.environment,
        }
        if job.index is not None:
            batch["AWS_BATCH_JOB_ARRAY_INDEX"] = str(job.index)
        # Fargate has no instance metadata; the platform's name is set by ECS.
        platform = {"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE", "AWS_EC2_METADATA_DISABLED": "true"}
        if run.instance:
            url = run.instance.metadata.url
            platform = {"AWS_EXECUTION_ENV": "AWS_ECS_EC2", "AWS_EC2_METADATA_SERVICE_ENDPOINT": url}
        return {**platform, **self.settings.environment, **job.spec.environment, **batch}

    def stop(self, run, reason, final):
        """Tells an attempt to stop; the first reason stands, but a final one wins."""
        with self.changed:
            if run.reason is None or (final and not run.final):
                run.reason, run.final = reason, final
            if run.container:
                run.container.stop(self.settings.stop_timeout)

    def finish(self, run, number, started, code, reason, status_reason):
        job = run.job
        told = {
            "exitCode": code,
            "reason": reason,
            "taskArn": f"arn:aws:ecs:{REGION}:{ACCOUNT}:task/podrun/{run.task}",
            "containerInstanceArn": run.instance and run.instance.id,
            "logStreamName": f"{job.id.replace(':', '.')}/{number}.log",
        }
        job.container = {key: value for key, value in told.items() if value is not None}
        job.attempts.append(
            {
                "container": job.container,
                "startedAt": started,
                "stoppedAt": milliseconds(),
                "statusReason": status_reason,
            }
        )
        self.running.pop(job.id, None)
        if run.instance:
            run.instance.leave(job)
        if code == 0 and not run.final:
            job.state, job.stopped, job.state_reason = "SUCCEEDED", milliseconds(), status_reason
        elif not run.final and retry.is_retried(job.spec.retry, number, code, reason, status_reason):
            job.state, job.state_reason = "RUNNABLE", status_reason
            self.waiting[job.id] = job
        else:
            job.fail(status_reason)

    def cancel(self, job, reason):
        """CancelJob: what waits ends; what started goes on, and the caller is not told."""
        with self.changed:
            job.cancelled = True
            for each in job.runnables():
                if each.state in WAITING:
                    each.cancelled = True
                    each.fail(reason)
            self.changed.notify_all()

    def terminate(self, job, reason):
        """TerminateJob: what waits ends, what runs is stopped and not retried."""
        with self.changed:
            job.terminated = True
            for each in job.runnables():
                if each.state in WAITING:
                    each.terminated = True
                    each.fail(reason)
                elif each.state not in ENDED:
                    each.terminated = True
                    self.stop(self.running[each.id], reason, final=True)
            self.changed.notify_all()

    def interrupt(self, runs, notice=None):
        """Spot reclaims these attempts, on EC2 with their whole instance; returns what is hit."""
        hosts = {run.instance.id: run.instance for run in runs if run.instance}
        for host in hosts.values():
            self.reclaim(host, self.settings.notice if notice is None else notice)
        for run in runs:
            if not run.instance:
                self.stop(run, FARGATE_RECLAIMED, final=False)
        return {"jobs": [run.job.id for run in runs], "instances": list(hosts)}

    def reclaim(self, host, notice):
        """Announces the end of an instance, and ends it after the notice."""
        with self.changed:
            if host.reclaimed:
                return
            host.reclaimed = True
            host.metadata.announce(notice)
        timer = threading.Timer(notice, self.take_away, args=(host,))
        timer.daemon = True
        timer.start()

    def take_away(self, host):
        reason = f"Host EC2 (instance {host.id}) terminated."
        with self.changed:
            for run in [run for run in self.running.values() if run.instance is host]:
                self.stop(run, reason, final=False)
            self.changed.notify_all()

    def reset(self):
        """Ends and forgets everything."""
        with self.changed:
            for job in self.jobs.by_id.values():
                self.terminate(job, "reset")
            for run in self.running.values():
                if run.container:
                    run.container.kill()
            deadline = time.monotonic() + self.settings.stop_timeout
            while self.running and time.monotonic() < deadline:
                self.changed.wait(0.1)
            self.jobs, self.waiting, self.quotas = Jobs(), {}, {}
            self.fleet.clear()
            self.catalogue.forget()


NO_ROOM = "no room"
