"""Rules: which requests meet which fault."""

import fnmatch
from dataclasses import dataclass, field
from random import Random

ACTIONS = {
    "delay": "answer `seconds` later",
    "drop_before": "close the connection; the server never sees the request",
    "drop_during": "close both connections once `bytes` of the body have been passed on",
    "drop_after": "let the server do it, and close the connection instead of answering",
    "error": "answer `status` and `code` instead of the server",
    "throttle": "answer as the service does when it is asked too often",
    "duplicate": "give each message of a ReceiveMessage to another receiver too",
}
FIELDS = {
    "action", "service", "operation", "path", "probability", "seed", "nth", "times", "seconds", "bytes",
    "status", "code",
}  # fmt: skip


class BadRule(Exception):
    """A rule that cannot be meant."""


@dataclass
class Rule:
    """One fault: the requests that match, and which of those it strikes."""

    given: dict
    random: Random = field(init=False)
    matched: int = 0
    struck: int = 0

    def __post_init__(self):
        unknown = set(self.given) - FIELDS
        if unknown:
            raise BadRule(f"no such field: {', '.join(sorted(unknown))}; there are {', '.join(sorted(FIELDS))}")
        if self.action not in ACTIONS:
            raise BadRule(f"no such action: {self.action}; there are {', '.join(ACTIONS)}")
        if self.action == "duplicate":
            self.given = {"service": "sqs", "operation": "ReceiveMessage", **self.given}
        self.random = Random(self.given.get("seed"))

    @property
    def action(self):
        return self.given.get("action")

    def get(self, name, default=None):
        return self.given.get(name, default)

    def strikes(self, service, operation, path):
        """Whether this request is struck; counts it."""
        facts = {"service": service, "operation": operation, "path": path}
        if not all(fnmatch.fnmatchcase(fact, self.get(name, "*")) for name, fact in facts.items()):
            return False
        self.matched += 1
        nth = self.get("nth")
        if nth is not None and self.matched not in (nth if isinstance(nth, list) else [nth]):
            return False
        if self.struck >= self.get("times", float("inf")):
            return False
        # Drawn for each match, so that a seed gives the same sequence whatever else happens.
        if self.random.random() >= self.get("probability", 1.0):
            return False
        self.struck += 1
        return True

    def view(self):
        return {**self.given, "matched": self.matched, "struck": self.struck}


class Rules:
    """All rules, in their order."""

    def __init__(self, given=()):
        self.all = [Rule(each) for each in given]

    def add(self, given):
        self.all += [Rule(each) for each in given]

    def struck(self, service, operation, path):
        """The rules that strike a request: all of them count it."""
        return [rule for rule in self.all if rule.strikes(service, operation, path)]

    def has(self, action):
        return any(rule.action == action for rule in self.all)

    def view(self):
        return {"rules": [rule.view() for rule in self.all]}
