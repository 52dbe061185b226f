"""The rules of evaluateOnExit."""

import unittest

from ..batch import retry

RULES = [
    {"onStatusReason": "Host EC2*", "action": "RETRY"},
    {"onExitCode": "75", "action": "retry"},
    {"onExitCode": "7*", "onReason": "Out*", "action": "RETRY"},
    {"onReason": "*", "action": "EXIT"},
]


def retried(code=None, reason=None, status_reason=None, attempt=1, rules=RULES):
    return retry.is_retried({"attempts": 3, "evaluateOnExit": rules}, attempt, code, reason, status_reason)


class Retry(unittest.TestCase):
    def test_the_first_rule_that_matches_decides(self):
        self.assertTrue(retried(status_reason="Host EC2 (instance i-1) terminated."))
        self.assertTrue(retried(code=75))
        self.assertFalse(retried(code=3))
        self.assertFalse(retried(code=750))

    def test_all_conditions_of_a_rule_must_hold(self):
        self.assertTrue(retried(code=77, reason="OutOfMemoryError: killed"))
        self.assertFalse(retried(code=77))
        self.assertFalse(retried(code=1, reason="OutOfMemoryError: killed"))

    def test_an_asterisk_is_one_at_the_end(self):
        self.assertTrue(retry.matches("Host EC2*", "Host EC2"))
        self.assertFalse(retry.matches("Host EC2", "Host EC2 (instance"))
        self.assertFalse(retry.matches("Host*gone", "Host is gone"))

    def test_what_no_rule_matches_is_retried(self):
        self.assertTrue(retried(code=3, rules=RULES[:2]))
        self.assertTrue(retried(code=3, rules=[]))

    def test_attempts_are_bounded(self):
        self.assertTrue(retried(code=75, attempt=2))
        self.assertFalse(retried(code=75, attempt=3))

    def test_strategies_that_batch_refuses(self):
        rule = {"onExitCode": "1", "action": "EXIT"}
        for bad in [
            {"attempts": 0},
            {"attempts": 11},
            {"attempts": 3, "evaluateOnExit": [rule] * 6},
            {"attempts": 3, "evaluateOnExit": [{"action": "EXIT"}]},
            {"attempts": 3, "evaluateOnExit": [{"onExitCode": "1"}]},
            {"attempts": 3, "evaluateOnExit": [{"onExitCode": "x", "action": "EXIT"}]},
            {"attempts": 3, "evaluateOnExit": [{"onReason": "a*b", "action": "EXIT"}]},
        ]:
            self.assertIsNotNone(retry.check(bad), bad)
        self.assertIsNone(retry.check({"attempts": 3, "evaluateOnExit": [*RULES, rule]}))


if __name__ == "__main__":
    unittest.main()
