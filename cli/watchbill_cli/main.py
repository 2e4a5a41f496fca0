"""The `watchbill` command: words in, exit codes out.

Owns the arguments, the help texts and the exit codes. Each verb lives in a module of its own, imported only when it is
asked for, so that `--help` is quick. Says what a user can mend in one sentence, without a trace.
"""

from __future__ import annotations

import argparse
import importlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from watchbill_cli.home import DAMAGED, NoLog, Refused
from watchbill_coordination.storage.faults import LogCorrupt

MAX_PORT = 65_535
EXIT_CODES = """exit codes: 0 done · 1 something was found wrong, or a Task failed · 2 wrong use, or the one sentence
on standard error says how to mend it · 65 the event log is damaged · 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    arguments = build_parser().parse_args(argv)
    module, function = arguments.run.split(":")
    try:
        return int(getattr(importlib.import_module(f"watchbill_cli.{module}"), function)(arguments))
    except NoLog as refusal:
        words = shlex.join(sys.argv[1:] if argv is None else argv)
        there = f"`kubectl exec deploy/watchbill-operator -- watchbill {words}`"
        print(f"watchbill: {refusal}; on a cluster the log is in the operator's pod: {there}", file=sys.stderr)
        return 2
    except Refused as refusal:
        print(f"watchbill: {refusal}", file=sys.stderr)
        return 2
    except LogCorrupt as error:
        print(f"watchbill: the log is damaged: {error}; `watchbill repair` says what can be done", file=sys.stderr)
        return DAMAGED
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


def build_parser() -> argparse.ArgumentParser:
    """All verbs with their options and examples."""
    parser = argparse.ArgumentParser(
        prog="watchbill",
        description="Fleets of agents on Kubernetes whose state is an append-only event log.",
        epilog=f"Acts on $WATCHBILL_ROOT, or on the local system of this checkout ($WATCHBILL_HOME).\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_system(verbs)
    _add_cluster(verbs)
    _add_reading(verbs)
    _add_doctor(verbs)
    _add_files(verbs)
    return parser


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, run: str, *, says: str, examples: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(
        name,
        help=says,
        description=says,
        epilog=f"examples:\n{examples}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _parse_port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text} is no port: give a number from 1 to {MAX_PORT}")
    return int(text)


def _add_system(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    start = _verb(
        verbs,
        "start",
        "start:run_start",
        says="start a local system, and run the quickstart on a folder",
        examples="  watchbill start\n  watchbill start --quickstart ~/src/my-project\n"
        "  watchbill start --quickstart . --model scripted",
    )
    start.add_argument("--quickstart", metavar="DIR", help="search, report on and review this folder")
    start.add_argument(
        "--kubeconfig",
        type=Path,
        metavar="FILE",
        help="use this control plane, which has no nodes of its own, and the namespace of its current context",
    )
    start.add_argument(
        "--runner",
        default="",
        metavar="NAME",
        help="command (the default), or claude: agents that run Claude Code, with the key in ANTHROPIC_API_KEY",
    )
    start.add_argument(
        "--model",
        default="",
        metavar="NAME",
        help="scripted: Claude Code with a model that plays from scripts and needs no key; or a model for all agents",
    )
    start.add_argument(
        "--port", type=_parse_port, metavar="N", help="port of the small API server (by default a free one)"
    )
    stop = _verb(
        verbs,
        "stop",
        "stop:run_stop",
        says="stop the local system; nothing is lost",
        examples="  watchbill stop\n  watchbill stop --drain 60",
    )
    adopt = _verb(
        verbs,
        "adopt",
        "adopt:run_adopt",
        says="go on with the log on this volume, though the namespace was led from another one",
        examples="  watchbill adopt\n  watchbill adopt --yes",
    )
    adopt.add_argument("--yes", action="store_true", help="do it")
    stop.add_argument(
        "--drain", type=float, default=10.0, metavar="SECONDS", help="how long running tasks may end (default 10)"
    )
    _verb(
        verbs,
        "kubeconfig",
        "start:run_kubeconfig",
        says="print where the kubeconfig of the local system is",
        examples='  export KUBECONFIG="$(watchbill kubeconfig)"',
    )


def _add_cluster(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    quickstart = _verb(
        verbs,
        "quickstart",
        "cluster_quickstart:run_on_cluster",
        says="run the quickstart on the cluster that $KUBECONFIG names, where Watchbill is installed",
        examples="  watchbill quickstart\n  watchbill quickstart ~/src/my-project --namespace watchbill",
    )
    quickstart.add_argument("folder", nargs="?", type=Path, default=Path(), metavar="DIR", help="by default this one")
    quickstart.add_argument(
        "--namespace", "-n", default="", metavar="NAME", help="where it is installed (default: the context's)"
    )
    quickstart.add_argument(
        "--timeout", type=float, default=600.0, metavar="SECONDS", help="how long all of it may take (default 600)"
    )


def _add_reading(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    monitor = _verb(
        verbs,
        "monitor",
        "monitor:run_monitor",
        says="show agents and tasks as they change; plain lines when piped",
        examples="  watchbill monitor\n  watchbill monitor --once -o json",
    )
    monitor.add_argument("--once", action="store_true", help="print one table and end")
    _add_output(monitor)
    events = _verb(
        verbs,
        "events",
        "events:run_events",
        says="print the event log, of all or of some tasks",
        examples="  watchbill events\n  watchbill events review-1f2e3d4c -f\n  watchbill events -o json | jq .type",
    )
    events.add_argument("tasks", nargs="*", metavar="TASK", help="name or uid of a Task")
    events.add_argument("--follow", "-f", action="store_true", help="go on as events happen")
    _add_output(events)
    transcript = _verb(
        verbs,
        "transcript",
        "transcript:run_transcript",
        says="read what an agent that runs Claude Code did in a Task",
        examples="  watchbill transcript verdict-1f2e3d4c\n  watchbill transcript verdict-1f2e3d4c --follow --full",
    )
    transcript.add_argument("task", help="name or uid of a Task")
    transcript.add_argument("--attempt", type=int, metavar="N", help="another attempt than the newest one")
    transcript.add_argument("--follow", "-f", action="store_true", help="go on until the Task has ended")
    transcript.add_argument("--full", action="store_true", help="shorten nothing")
    _add_output(transcript)
    verify = _verb(
        verbs,
        "verify",
        "verify:run_verify",
        says="check that the log and every projection are whole",
        examples="  watchbill verify && echo whole\n  watchbill verify -o json",
    )
    _add_output(verify)
    repair = _verb(
        verbs,
        "repair",
        "repair:run_repair",
        says="rebuild what is derived and put damaged bytes aside; by default only says what it would do",
        examples="  watchbill repair\n  watchbill repair --yes",
    )
    repair.add_argument("--yes", action="store_true", help="carry the plan out")
    repair.add_argument("--accept-loss", action="store_true", help="go on without records that cannot be brought back")
    repair.add_argument(
        "--force", action="store_true", help="go on though a writer on another host cannot be ruled out"
    )
    _add_output(repair)


def _add_doctor(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    doctor = _verb(
        verbs,
        "doctor",
        "doctor:run_doctor",
        says="say what is wrong with the installation that $KUBECONFIG names, and what mends it",
        examples="  watchbill doctor --namespace watchbill\n  watchbill doctor -o json",
    )
    doctor.add_argument(
        "--namespace", "-n", default="", metavar="NAME", help="where Watchbill is; by default that of the context"
    )
    _add_output(doctor)


def _add_files(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    lint = _verb(
        verbs,
        "lint",
        "lint:run_lint",
        says="check manifests, of Agents and Tasks above all: file, line and column of what is wrong",
        examples="  watchbill lint tasks.yaml\n  watchbill lint manifests/ -o json",
    )
    lint.add_argument("files", nargs="+", type=Path, metavar="FILE", help="a file, or a folder with all below it")
    _add_output(lint)
    context = verbs.add_parser("context", help="files that agents may read", description="Files that agents may read.")
    put = _verb(
        context.add_subparsers(required=True, metavar="VERB"),
        "put",
        "context:run_put",
        says="send a file or folder to shared-context; prints what a Task names in `context`",
        examples="  watchbill context put docs/requirements.md\n  watchbill context put src/",
    )
    put.add_argument("path", type=Path)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="form of what is printed")


if __name__ == "__main__":
    sys.exit(main())
