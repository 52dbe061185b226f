"""The command line of `tools/aws-local`."""

import argparse
import sys
from pathlib import Path

from .places import Problem, default_state

EXAMPLE = """example:
  tools/aws-local install
  eval "$(tools/aws-local up)"
  podrun --target aws fetch --limit 5
  tools/aws-local down
"""


def main():
    arguments = parser().parse_args()
    try:
        return arguments.run(arguments) or 0
    except Problem as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1


def parser():
    top = argparse.ArgumentParser(
        prog="tools/aws-local",
        description="AWS on this machine: S3, SQS, DynamoDB, CloudWatch, and Batch with real processes.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(metavar="COMMAND", required=True)
    install = verbs.add_parser("install", help="install the servers, where they are missing")
    install.add_argument("--s3", action="store_true", help="also localstack-core, a stricter S3")
    install.set_defaults(run=run_install)

    up = verbs.add_parser("up", help="start all servers and print the variables that lead to them")
    up.add_argument("--json", action="store_true", help="print one JSON object instead of exports")
    add_options(up)
    up.set_defaults(run=run_up)

    env = verbs.add_parser("env", help="print the variables again")
    env.add_argument("--json", action="store_true", help="print one JSON object instead of exports")
    env.set_defaults(run=run_env)
    for name, run, text in [
        ("status", run_status, "say what runs and whether it answers"),
        ("reset", run_reset, "empty all servers and make the resources anew"),
        ("down", run_down, "stop all servers"),
    ]:
        verbs.add_parser(name, help=text).set_defaults(run=run)
    for verb in verbs.choices.values():
        if verb is not install:
            verb.add_argument("--state", type=Path, default=None, help="folder of state and logs")

    serve = verbs.add_parser("serve", help="up in the foreground: ends when standard input does; for tests")
    serve.add_argument("--state", type=Path, default=None, help="folder of state and logs, kept afterwards")
    serve.add_argument("--detached", action="store_true", help=argparse.SUPPRESS)
    add_options(serve)
    serve.set_defaults(run=run_serve)
    return top


def add_options(verb):
    verb.add_argument("--ministack-port", type=int, default=0, metavar="PORT", help="default: a free one")
    verb.add_argument("--moto-port", type=int, default=0, metavar="PORT", help="default: a free one")
    verb.add_argument("--batch-port", type=int, default=0, metavar="PORT", help="default: a free one")
    verb.add_argument("--persist", action="store_true", help="stores outlive a restart of their server")
    verb.add_argument("--faults", action="store_true", help="put fault proxies in front of the servers")
    verb.add_argument("--s3", action="store_true", help="S3 is localstack-core")
    verb.add_argument(
        "--job-env", action="append", default=[], metavar="NAME=VALUE", help="a variable of every Batch job"
    )
    verb.add_argument(
        "--batch",
        action="append",
        default=[],
        metavar="OPTION=VALUE",
        help="an option of the Batch server, such as slots=4; python -m aws_local.batch_server --help lists them",
    )
    verb.add_argument(
        "command", nargs="*", metavar="PROGRAM", help="what containers run; default: the podrun built last"
    )


def run_install(arguments):
    from .install import install

    install(arguments.s3)


def run_up(arguments):
    from . import supervise

    described = supervise.up(state_of(arguments), options(arguments))
    print_environment(described, arguments.json)


def run_env(arguments):
    from . import supervise

    print_environment(supervise.running(state_of(arguments)), arguments.json)


def run_serve(arguments):
    from . import supervise

    return supervise.serve(arguments.state, options(arguments), arguments.detached)


def run_status(arguments):
    from . import supervise

    return supervise.status(state_of(arguments))


def run_reset(arguments):
    from . import stack, supervise

    stack.reset(supervise.running(state_of(arguments)))


def run_down(arguments):
    from . import supervise

    supervise.down(state_of(arguments))


def state_of(arguments):
    return (arguments.state or default_state()).absolute()


def options(arguments):
    """The options of a stack as `serve` takes them, so that `up` can hand them on."""
    return {
        "ministack_port": arguments.ministack_port,
        "moto_port": arguments.moto_port,
        "batch_port": arguments.batch_port,
        "persist": arguments.persist,
        "faults": arguments.faults,
        "s3": arguments.s3,
        "command": arguments.command,
        "job_environment": arguments.job_env,
        "batch_arguments": [f"--{option}" for option in arguments.batch],
    }


def print_environment(described, as_json):
    import json
    import shlex

    if as_json:
        print(json.dumps(described))
        return
    # A profile or a session of a real account must not mix with these.
    print("unset AWS_PROFILE AWS_SESSION_TOKEN;")
    for name, value in described["env"].items():
        print(f"export {name}={shlex.quote(value)};")
