"""`hive notify`: where the operator is told outside of the dashboard."""

import getpass
import sys
from typing import Annotated, Final

import typer

from hyperhive.cli.ages import age
from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Json
from hyperhive.cli.output import CliError, put, put_json, put_table, say
from hyperhive.cli.safe import one_line
from hyperhive.protocol import host
from hyperhive.protocol.notify import BY_DEFAULT, NotifyKind

_COLUMNS: Final = ("NAME", "TARGET", "FOR", "SENT", "WAITING", "GIVEN UP", "TROUBLE")
_MAX_URL: Final = 2000
_KINDS: Final = f"What for, with commas between: {', '.join(NotifyKind)}. Default: all but operator_mail."
Name = Annotated[str, typer.Argument(metavar="NAME", help="As `hive notify list` shows it.")]


def add(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="As apprise has it, such as ntfy://HOST/TOPIC; - reads it unseen.")
    ],
    kinds: Annotated[str, typer.Option("--for", metavar="KINDS", help=_KINDS)] = "",
    name: Annotated[str, typer.Option(help="How you call it; without: its scheme.")] = "",
    json: Json = False,
) -> None:
    """Tell you there, too, when something needs you. The URL is a secret: with - it gets into nobody's history."""
    answer = ask(host.AddNotifyTarget(url=_unseen() if url == "-" else url, kinds=_kinds(kinds), name=name))
    added = answer.notify_targets[0] if answer.notify_targets else None
    called = added.name if added else name
    tell(answer, f"{called} is told from now on; `hive notify test {called}` tries it", json=json)


def list_targets(json: Json = False) -> None:
    """Show where you are told, and how that goes."""
    answer = ask(host.NotifyTargets())
    if json:
        put_json(answer)
    elif answer.notify_targets:
        put_table(_COLUMNS, [_cells(target) for target in answer.notify_targets])
    else:
        say("there is no target; `hive notify add URL` adds one")


def remove(name: Name, json: Json = False) -> None:
    """Tell a target nothing any more; its URL is forgotten."""
    tell(ask(host.RemoveNotifyTarget(name=name)), f"{name} is removed", json=json)


def try_targets(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One target; without: all.")] = None,
    json: Json = False,
) -> None:
    """Send a test message and say what became of it."""
    answer = ask(host.TestNotifyTarget(name=name), doing="sending")
    tests = answer.notify_tests or []
    if json:
        put_json(answer)
    else:
        for one in tests:
            put(f"{one.name}: {'it took the message' if one.ok else one.error}")
    if failed := [one.name for one in tests if not one.ok]:
        raise CliError(f"not delivered to {', '.join(failed)}")


def _unseen() -> str:
    url = getpass.getpass("URL: ") if sys.stdin.isatty() else sys.stdin.readline(_MAX_URL + 1)
    return url.strip()


def _kinds(text: str) -> list[NotifyKind]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    if wrong := [word for word in words if word not in set(NotifyKind)]:
        raise CliError(f"{one_line(wrong[0], 60)!r} is no kind of notification; there are: {', '.join(NotifyKind)}")
    return [NotifyKind(word) for word in words]


def _cells(target: host.NotifyTarget) -> tuple[str, ...]:
    kinds = "the default" if set(target.kinds) == set(BY_DEFAULT) else ", ".join(target.kinds)
    trouble = f"{target.error}, {age(str(target.error_at))} ago" if target.error else ""
    sent = f"{target.sent}, {age(target.sent_at)} ago" if isinstance(target.sent_at, str) else str(target.sent)
    return (target.name, target.url, kinds, sent, str(target.waiting), str(target.given_up), trouble)
