"""Simulated instances of EC2 compute environments: they start for jobs and outlive them for a while."""

import re
import time
import uuid

from .metadata import Metadata

# vCPUs of an `xlarge`; a number before it multiplies.
XLARGE = 4
SIZES = {"medium": 1, "large": 2, "xlarge": XLARGE}


def shape(instance_type):
    """vCPUs and GPUs of a type, told from its name: right for the single-GPU sizes of g5 and g6."""
    family, _, size = instance_type.partition(".")
    times = re.fullmatch(r"(\d+)xlarge", size)
    vcpus = int(times[1]) * XLARGE if times else SIZES.get(size, XLARGE)
    return vcpus, 1 if re.match(r"[gp]\d", family) else 0


class Instance:
    def __init__(self, environment, instance_type, boot):
        self.id = f"i-{uuid.uuid4().hex[:17]}"
        self.environment, self.type = environment, instance_type
        self.vcpus, self.gpus = shape(instance_type)
        self.ready_at = time.monotonic() + boot
        self.idle_since = self.ready_at
        self.jobs, self.promised = {}, []
        self.reclaimed = False
        self.metadata = Metadata(self.id, instance_type)

    def fits(self, spec):
        specs = [*self.jobs.values(), *self.promised, spec]
        vcpus = sum(each.required("VCPU") for each in specs)
        gpus = sum(each.required("GPU") for each in specs)
        return vcpus <= self.vcpus and gpus <= self.gpus and not self.reclaimed

    def promise(self, job):
        """Keeps room for a job that waits for this instance to start."""
        self.promised.append(job.spec)

    def is_ready(self):
        return time.monotonic() >= self.ready_at

    def take(self, job):
        self.jobs[job.id] = job.spec

    def leave(self, job):
        self.jobs.pop(job.id, None)
        self.idle_since = time.monotonic()

    def view(self):
        return {
            "instanceId": self.id,
            "instanceType": self.type,
            "computeEnvironment": self.environment,
            "vcpus": self.vcpus,
            "jobs": list(self.jobs),
            "ready": self.is_ready(),
            "reclaimed": self.reclaimed,
            "metadata": self.metadata.url,
        }


class Fleet:
    """All instances, and what limits them."""

    def __init__(self, boot, linger):
        self.boot, self.linger = boot, linger
        self.instances = []

    def of(self, environment):
        return [each for each in self.instances if each.environment == environment]

    def forget_promises(self):
        for instance in self.instances:
            instance.promised.clear()

    def vcpus(self, environment):
        """What DescribeComputeEnvironments reports as desired."""
        return sum(each.vcpus for each in self.of(environment))

    def place(self, environment, types, limit, spec):
        """An instance with room for a job, started where it may be; None where it may not."""
        fitting = [each for each in self.of(environment) if each.fits(spec)]
        if fitting:
            return min(fitting, key=lambda each: each.ready_at)
        return self.grow(environment, suited(types, spec), limit)

    def grow(self, environment, types, limit):
        """Starts one more instance, within a limit of vCPUs."""
        for instance_type in types:
            if self.vcpus(environment) + shape(instance_type)[0] <= limit:
                instance = Instance(environment, instance_type, self.boot)
                self.instances.append(instance)
                return instance
        return None

    def retire(self):
        """Ends what has idled for long enough; seconds until the next may end, or None."""
        waits = []
        for instance in [each for each in self.instances if not each.jobs and not each.promised]:
            left = instance.idle_since + self.linger - time.monotonic()
            if left > 0:
                waits.append(left)
            else:
                self.end(instance)
        return min(waits, default=None)

    def end(self, instance):
        if instance in self.instances:
            self.instances.remove(instance)
            instance.metadata.close()

    def clear(self):
        for instance in list(self.instances):
            self.end(instance)


def suited(types, spec):
    """The types that could ever hold a job."""
    return [each for each in types if all(
        shape(each)[place] >= spec.required(kind) for place, kind in enumerate(("VCPU", "GPU"))
    )]
