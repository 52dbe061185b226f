"""Whether an attempt that ended is followed by another: `retryStrategy` as Batch reads it."""

import re

MAX_ATTEMPTS, MAX_RULES, MAX_PATTERN = 10, 5, 512
PATTERNS = {
    "onExitCode": re.compile(r"[0-9]*\*?"),
    "onReason": re.compile(r"[0-9A-Za-z.:\s]*\*?"),
    "onStatusReason": re.compile(r"[0-9A-Za-z.:\s]*\*?"),
}


def check(strategy):
    """What is wrong with a strategy, or None."""
    attempts = strategy.get("attempts", 1)
    if not isinstance(attempts, int) or not 1 <= attempts <= MAX_ATTEMPTS:
        return f"retryStrategy.attempts must be between 1 and {MAX_ATTEMPTS}"
    rules = strategy.get("evaluateOnExit") or []
    if len(rules) > MAX_RULES:
        return f"retryStrategy.evaluateOnExit must have at most {MAX_RULES} rules"
    for rule in rules:
        if str(rule.get("action", "")).upper() not in ("RETRY", "EXIT"):
            return "evaluateOnExit.action must be RETRY or EXIT"
        given = [name for name in PATTERNS if rule.get(name)]
        if not given:
            return "evaluateOnExit needs onExitCode, onReason or onStatusReason"
        for name in given:
            if len(rule[name]) > MAX_PATTERN or not PATTERNS[name].fullmatch(rule[name]):
                return f"evaluateOnExit.{name} is not a valid pattern: {rule[name]}"
    return None


def is_retried(strategy, attempt, exit_code, reason, status_reason):
    """Whether attempt number `attempt`, counted from 1, is followed by another."""
    if attempt >= strategy.get("attempts", 1):
        return False
    facts = {
        "onExitCode": "" if exit_code is None else str(exit_code),
        "onReason": reason or "",
        "onStatusReason": status_reason or "",
    }
    for rule in strategy.get("evaluateOnExit") or []:
        if all(matches(rule[name], fact) for name, fact in facts.items() if rule.get(name)):
            return rule["action"].upper() == "RETRY"
    # No rule matched: retried.
    return True


def matches(pattern, text):
    """A pattern is the whole text, or its beginning followed by one asterisk."""
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    return text == pattern
