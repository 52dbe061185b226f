#!/usr/bin/env python3
"""Runs every test of a numbered hostile case and writes `appendix/hostile-inputs.md`.

    tools/hostile_table.py

A test is of case 7 if its name begins with `case_007_`. The table lists what each case asks for
(`tests/hostile_cases.tsv`), the tests, and whether they passed in this run. It ends with 1 if a test
failed or a case has none."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINE = re.compile(r"^\s*(PASS|FAIL|TIMEOUT|LEAK|SIGABRT|SIGSEGV)\s+\[[^]]*\]\s+(?:\([^)]*\)\s+)?(\S+)\s+(\S*case_(\d{3})_\S+)")

HEAD = """# Hostile inputs

What feeds, hosts, files and addresses do to a fetcher, and the tests that hold podrun to the right answer. Written by
`tools/hostile_table.py`, which runs them; a test keeps this table and the tests in step.

| # | case | outcome | tests | result |
|--:|---|---|---|---|
"""


def run():
    """Lists (number, test, passed) of one run of all such tests."""
    command = ["cargo", "nextest", "run", "--workspace", "--no-fail-fast", "--color", "never", "-E", r"test(/case_\d{3}_/)"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    found = {}
    for line in done.stdout.splitlines():
        match = LINE.match(line)
        if match:
            outcome, binary, name, number = match.groups()
            found[(int(number), binary, name)] = outcome in ("PASS", "LEAK")
    if not found:
        sys.exit(f"no test ran:\n{done.stdout[-4000:]}")
    return found


def main():
    found = run()
    rows, bad = [], []
    cases = (ROOT / "tests/hostile_cases.tsv").read_text().splitlines()
    for line in cases:
        number, case, outcome = line.split("\t")
        tests = sorted((name.rsplit("::", 1)[-1], ok) for (of, _, name), ok in found.items() if of == int(number))
        passed = bool(tests) and all(ok for _, ok in tests)
        if not passed:
            bad.append(number)
        names = "<br>".join(f"`{name}`" for name, _ in tests) or "none"
        rows.append(f"| {number} | {case} | {outcome} | {names} | {'pass' if passed else 'FAIL' if tests else 'no test'} |\n")
    text = HEAD + "".join(rows) + f"\n{len(cases) - len(bad)} of {len(cases)} cases pass, by {len(found)} tests.\n"
    (ROOT / "appendix/hostile-inputs.md").write_text(text)
    print(text.splitlines()[-1])
    if bad:
        sys.exit(f"without a passing test: {', '.join(bad)}")


main()
