"""AWS Batch on this machine: its job calls, with processes for containers.

Jobs are submitted, listed, described, cancelled and terminated here, and run as processes of this
machine. Compute environments, queues and definitions are moto's, to which every other call goes; what
moto does not simulate (desired vCPUs, instances) is added to its answers.

Calls of our own, for tests: `POST /_local/interrupt`, `/_local/signal`, `/_local/quota`, `/_local/reset`;
`GET /_local/running`, `/_local/instances`, `/_local/logs/JOB`.
"""

import argparse
import json
import logging
import random
import signal
import threading
import time
from pathlib import Path
from urllib.parse import unquote

from .batch import submission
from .batch.catalogue import Catalogue
from .batch.jobs import STATES, Job
from .batch.scheduler import Scheduler, Settings
from .batch.submission import Refused
from .httpd import Answer, listen
from .tether import end_with_parent

MAX_DESCRIBED = 100
MAX_LISTED = 1000
# Longest end of a log that is given back.
MAX_LOG = 1 << 20


class BatchServer:
    def __init__(self, settings, upstream, min_timeout=submission.MIN_TIMEOUT, list_lag=0.0):
        self.catalogue = Catalogue(upstream)
        self.scheduler = Scheduler(settings, self.catalogue)
        self.settings, self.min_timeout, self.list_lag = settings, min_timeout, list_lag
        self.routes = {
            "/v1/submitjob": self.submit,
            "/v1/describejobs": self.describe,
            "/v1/listjobs": self.list,
            "/v1/canceljob": lambda body: self.end(body, self.scheduler.cancel),
            "/v1/terminatejob": lambda body: self.end(body, self.scheduler.terminate),
            "/_local/interrupt": self.interrupt,
            "/_local/signal": self.signal,
            "/_local/quota": self.quota,
            "/_local/reset": self.reset,
        }

    def respond(self, method, path, headers, raw):
        try:
            if method == "GET" and path.startswith("/_local/"):
                return self.look(path)
            if path == "/v1/submitjob":
                return self.submit(raw)
            if path in self.routes:
                return self.routes[path](json.loads(raw or b"{}"))
            if path == "/v1/updatecomputeenvironment":
                self.check_update(json.loads(raw))
            return self.pass_on(method, path, headers, raw)
        except Refused as refused:
            raise client_error(str(refused)) from None
        except json.JSONDecodeError as error:
            raise client_error(f"not JSON: {error}") from None

    def pass_on(self, method, path, headers, raw):
        status, body = self.catalogue.forward(method, path, headers, raw)
        if not path.startswith("/v1/describe"):
            self.catalogue.forget()
            with self.scheduler.changed:
                self.scheduler.changed.notify_all()
        if status != 200:
            raise Answer(status, body, {"Content-Type": "application/json", "x-amzn-ErrorType": "ClientException"})
        answer = json.loads(body or b"{}")
        if path == "/v1/describecomputeenvironments":
            for each in answer["computeEnvironments"]:
                self.add_capacity(each)
        return answer

    def add_capacity(self, environment):
        resources = environment.get("computeResources") or {}
        if not resources.get("type", "FARGATE").startswith("FARGATE"):
            with self.scheduler.changed:
                resources["desiredvCpus"] = self.scheduler.fleet.vcpus(environment["computeEnvironmentName"])

    def check_update(self, body):
        """Capacity can be raised by hand and never lowered."""
        wanted = (body.get("computeResources") or {}).get("desiredvCpus")
        if wanted is None:
            return
        name = (body.get("computeEnvironment") or "").split("/")[-1]
        resources = (self.catalogue.environments().get(name) or {}).get("computeResources") or {}
        with self.scheduler.changed:
            fleet = self.scheduler.fleet
            if wanted < fleet.vcpus(name):
                raise Refused("Manually scaling down compute environment is not supported.")
            limit = min(resources.get("maxvCpus", 0), self.scheduler.quotas.get(name, 1 << 30))
            while fleet.vcpus(name) < wanted and fleet.grow(name, resources.get("instanceTypes") or [], limit):
                pass

    def submit(self, raw):
        spec = submission.read(raw, self.catalogue, self.min_timeout)
        job = Job(spec)
        self.scheduler.add(job)
        return {"jobId": job.id, "jobArn": job.arn, "jobName": job.name}

    def describe(self, body):
        ids = body.get("jobs") or []
        if len(ids) > MAX_DESCRIBED:
            raise Refused(f"jobs must be at most {MAX_DESCRIBED}")
        with self.scheduler.changed:
            found = [self.scheduler.jobs.find(each.split("/")[-1]) for each in ids]
            return {"jobs": [job.detail() for job in found if job]}

    def list(self, body):
        count = int(body.get("maxResults") or 100)
        start = int(body.get("nextToken") or 0)
        if not 1 <= count <= MAX_LISTED:
            raise Refused(f"maxResults must be between 1 and {MAX_LISTED}")
        with self.scheduler.changed:
            found = [job.summary() for job in self.listed(body)]
        page = {"jobSummaryList": found[start : start + count]}
        return {**page, "nextToken": str(start + count)} if start + count < len(found) else page

    def listed(self, body):
        """The jobs that a request asks for: by state, or by one filter whatever their state."""
        if body.get("arrayJobId"):
            parent = self.scheduler.jobs.find(body["arrayJobId"])
            candidates, filters = (parent.children if parent else []), []
        elif body.get("jobQueue"):
            candidates = self.scheduler.jobs.of_queue(body["jobQueue"].split("/")[-1])
            filters = body.get("filters") or []
        else:
            raise Refused("one of jobQueue and arrayJobId must be given")
        newest = (time.time() - self.list_lag) * 1000
        candidates = [job for job in candidates if job.created <= newest]
        if len(filters) > 1:
            raise Refused("at most one filter")
        if filters:
            return [job for job in candidates if passes(filters[0], job)]
        state = body.get("jobStatus") or "RUNNING"
        if state not in STATES:
            raise Refused(f"jobStatus must be one of {', '.join(STATES)}")
        return [job for job in candidates if job.status() == state]

    def end(self, body, how):
        if not body.get("jobId") or not body.get("reason"):
            raise Refused("jobId and reason must be given")
        with self.scheduler.changed:
            job = self.scheduler.jobs.find(body["jobId"])
            # A job that is not known is a success too: the call promises nothing.
            if job:
                how(job, body["reason"])
        return {}

    def chosen(self, body):
        """Running attempts: those of `jobs` (an array's parent stands for its children), or `count` at random."""
        with self.scheduler.changed:
            runs = list(self.scheduler.running.values())
        if body.get("queue"):
            runs = [run for run in runs if run.job.spec.queue.endswith("/" + body["queue"])]
        if body.get("jobs"):
            return [run for run in runs if {run.job.id, run.job.id.split(":")[0]} & set(body["jobs"])]
        return random.Random(body.get("seed")).sample(runs, min(len(runs), int(body.get("count", 1))))

    def interrupt(self, body):
        return self.scheduler.interrupt(self.chosen(body), body.get("notice"))

    def signal(self, body):
        number = signal.Signals[f"SIG{body.get('signal', 'KILL')}"]
        runs = [run for run in self.chosen(body) if run.container]
        for run in runs:
            run.container.signal(number)
        return {"jobs": [run.job.id for run in runs]}

    def quota(self, body):
        """How many vCPUs the account may use in a compute environment; null lifts the limit."""
        with self.scheduler.changed:
            if body.get("vcpus") is None:
                self.scheduler.quotas.pop(body["computeEnvironment"], None)
            else:
                self.scheduler.quotas[body["computeEnvironment"]] = int(body["vcpus"])
            self.scheduler.changed.notify_all()
        return {}

    def reset(self, _body):
        self.scheduler.reset()
        return {}

    def look(self, path):
        if path == "/_local/running":
            with self.scheduler.changed:
                return {"running": [view(run) for run in self.scheduler.running.values()]}
        if path == "/_local/instances":
            with self.scheduler.changed:
                return {"instances": [each.view() for each in self.scheduler.fleet.instances]}
        if path.startswith("/_local/logs/"):
            return self.log(unquote(path.removeprefix("/_local/logs/")))
        if path == "/_local/health":
            return {}
        raise Answer(404, {"message": f"no such page: {path}"})

    def log(self, job_id):
        """What all attempts of a job or a child wrote, one after another."""
        with self.scheduler.changed:
            job = self.scheduler.jobs.find(job_id)
        if job is None:
            raise Answer(404, {"message": f"no job {job_id}"})
        folder = self.settings.state / "jobs" / job.id.replace(":", ".")
        logs = sorted(folder.glob("*.log"), key=lambda path: int(path.stem))
        return b"".join(log.read_bytes() for log in logs)[-MAX_LOG:]


def client_error(message):
    return Answer(400, {"message": message}, {"x-amzn-ErrorType": "ClientException"})


def passes(wanted, job):
    """A filter of ListJobs: names without regard to case, an asterisk at the end for any rest."""
    name, values = wanted.get("name"), wanted.get("values") or []
    if name == "JOB_NAME":
        return any(fits(value, job.name) for value in values)
    if name == "JOB_DEFINITION":
        return any(fits(value, job.spec.definition.split("/")[-1]) for value in values)
    if name == "BEFORE_CREATED_AT":
        return job.created < int(values[0])
    if name == "AFTER_CREATED_AT":
        return job.created > int(values[0])
    raise Refused(f"no such filter: {name}")


def fits(value, text):
    value, text = value.lower(), text.lower()
    return text.startswith(value[:-1]) if value.endswith("*") else text == value


def view(run):
    container = run.container
    return {
        "jobId": run.job.id,
        "jobName": run.job.name,
        "attempt": len(run.job.attempts) + 1,
        "pid": container and container.process.pid,
        "log": container and str(container.log),
        "computeEnvironment": run.environment,
        "instanceId": run.instance and run.instance.id,
    }


def parser():
    flags = argparse.ArgumentParser(prog="batch_server", description="The job calls of AWS Batch, run as processes.")
    flags.add_argument("--port", type=int, default=0, help="default: a free one")
    flags.add_argument("--upstream", required=True, help="address of moto")
    flags.add_argument("--state", type=Path, required=True, help="logs of jobs go to STATE/jobs")
    flags.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="a variable of every job")
    flags.add_argument("--slots", type=int, default=16, help="most processes at a time")
    flags.add_argument("--stop-timeout", type=float, default=30.0, help="seconds from SIGTERM to SIGKILL")
    flags.add_argument("--notice", type=float, default=120.0, help="seconds from a Spot notice on EC2 to the end")
    flags.add_argument("--boot", type=float, default=0.0, help="seconds until an instance takes jobs")
    flags.add_argument("--linger", type=float, default=5.0, help="seconds that an idle instance lives on")
    flags.add_argument("--min-timeout", type=int, default=submission.MIN_TIMEOUT, help="least timeout of an attempt")
    flags.add_argument("--list-lag", type=float, default=0.0, help="seconds until ListJobs shows a job")
    flags.add_argument("command", nargs="+", help="what every container runs, before the job's own command")
    return flags


def main():
    given = parser().parse_args()
    settings = Settings(
        command=given.command,
        state=given.state.absolute(),
        environment=dict(pair.split("=", 1) for pair in given.env),
        slots=given.slots,
        stop_timeout=given.stop_timeout,
        notice=given.notice,
        boot=given.boot,
        linger=given.linger,
    )
    logging.basicConfig(level=logging.WARNING)
    batch = BatchServer(settings, given.upstream, given.min_timeout, given.list_lag)
    server = listen(given.port, batch.respond)
    print(f"listening {server.server_address[1]}", flush=True)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    end_with_parent(grace=1.0)
    stopping.wait()
    # What still runs ends with the reaper.
    batch.scheduler.reaper.close()


if __name__ == "__main__":
    main()
