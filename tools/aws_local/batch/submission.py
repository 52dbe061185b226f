"""A request to submit, checked as Batch checks it, and made into what will run."""

import json
import re
from dataclasses import dataclass

from . import retry

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
MAX_PAYLOAD = 30 << 10
MAX_OVERRIDES = 8192
SIZES = range(2, 10_001)
MIN_TIMEOUT = 60


class Refused(Exception):
    """A request that Batch refuses: ClientException."""


@dataclass
class Spec:
    """What all attempts of a job, and all children of an array, have in common."""

    name: str
    queue: str
    environments: list
    definition: str
    image: str
    command: list
    environment: dict
    requirements: list
    retry: dict
    timeout: int
    platform: str
    size: int

    def required(self, kind):
        found = [each["value"] for each in self.requirements if each["type"] == kind]
        return float(found[0]) if found else 0.0


def read(raw, catalogue, min_timeout=MIN_TIMEOUT):
    """The specification that a SubmitJob request asks for."""
    body = json.loads(raw)
    if len(raw) > MAX_PAYLOAD:
        raise Refused(f"Job payload size must be at most {MAX_PAYLOAD} bytes")
    if not NAME.fullmatch(body.get("jobName") or ""):
        raise Refused("jobName must be letters, digits, - and _, beginning with a letter or digit, at most 128")
    size = checked_size(body.get("arrayProperties") or {})
    overrides = checked_overrides(body.get("containerOverrides") or {})
    if body.get("dependsOn"):
        raise Refused("this server does not simulate dependsOn")
    queue = catalogue.queue(body.get("jobQueue") or "")
    definition = catalogue.definition(body.get("jobDefinition") or "")
    container = definition.get("containerProperties") or {}
    strategy = body.get("retryStrategy") or definition.get("retryStrategy") or {"attempts": 1}
    if wrong := retry.check(strategy):
        raise Refused(wrong)
    return Spec(
        name=body["jobName"],
        queue=queue["jobQueueArn"],
        environments=ordered(queue),
        definition=definition["jobDefinitionArn"],
        image=container.get("image", ""),
        command=command(body, definition, overrides),
        environment=variables(container) | variables(overrides),
        requirements=merged(container, overrides),
        retry=strategy,
        timeout=checked_timeout(body.get("timeout") or definition.get("timeout") or {}, min_timeout),
        platform=(definition.get("platformCapabilities") or ["EC2"])[0],
        size=size,
    )


def checked_size(properties):
    size = properties.get("size")
    if size is not None and size not in SIZES:
        raise Refused("arrayProperties.size must be between 2 and 10000")
    return size or 0


def checked_overrides(overrides):
    if len(json.dumps(overrides, separators=(",", ":"), ensure_ascii=False)) > MAX_OVERRIDES:
        raise Refused(f"Container Overrides length must be at most {MAX_OVERRIDES}")
    return overrides


def checked_timeout(timeout, least):
    seconds = timeout.get("attemptDurationSeconds")
    if seconds is not None and seconds < least:
        raise Refused(f"timeout.attemptDurationSeconds must be at least {least}")
    return seconds


def ordered(queue):
    """The names of a queue's compute environments, in their order."""
    order = sorted(queue.get("computeEnvironmentOrder") or [], key=lambda each: each["order"])
    return [each["computeEnvironment"].split("/")[-1] for each in order]


def command(body, definition, overrides):
    given = {**(definition.get("parameters") or {}), **(body.get("parameters") or {})}
    words = overrides.get("command") or (definition.get("containerProperties") or {}).get("command") or []
    return [given.get(word[5:], word) if word.startswith("Ref::") else word for word in words]


def variables(container):
    """A container's variables; names that Batch reserves are not a job's to set."""
    pairs = {each["name"]: each.get("value", "") for each in container.get("environment") or []}
    return {name: value for name, value in pairs.items() if not name.startswith("AWS_BATCH")}


def merged(container, overrides):
    kinds = {each["type"]: each for each in container.get("resourceRequirements") or []}
    kinds |= {each["type"]: each for each in overrides.get("resourceRequirements") or []}
    return list(kinds.values())
