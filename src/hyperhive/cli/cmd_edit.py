"""`hive edit`: an agent's config changed by hand."""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Final

import typer

from hyperhive.cli import cmd_approve, editor, proposals
from hyperhive.cli.hive import ask
from hyperhive.cli.options import Agent, Json, Yes
from hyperhive.cli.output import CliError, agreed, put_json, say
from hyperhive.protocol import host
from hyperhive.protocol.faults import FaultError, FaultKind

LARGEST: Final = 256 * 1024
WITHDRAWN: Final = "withdrawn by the operator"


def run(
    name: Agent,
    file: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Take this text instead of opening an editor; - reads stdin.")
    ] = None,
    message: Annotated[str, typer.Option("--message", "-m", help="Why; kept with the change.")] = "",
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Change an agent's deployed agent.toml with $VISUAL or $EDITOR, look at what changes, and approve it."""
    if not yes and (file == Path("-") or not proposals.somebody_is_here()):
        raise CliError(
            "nobody is here to ask: say --yes to approve the change unseen, or commit it and use `hive propose`"
        )
    deployed = ask(host.Config(name=name)).config
    if not deployed:
        raise CliError(f"the hive does not say what is deployed to {name}")
    if file is None:
        _by_hand(deployed, message, yes=yes, json=json)
    else:
        _decide(_propose(deployed, _text_of(file), message), yes=yes, json=json)


def _by_hand(deployed: host.AgentConfig, message: str, *, yes: bool, json: bool) -> None:
    """The text is kept, and said where, unless it became a proposal."""
    directory = Path(tempfile.mkdtemp(prefix="hive-edit-"))
    path = directory / "agent.toml"
    path.write_text(deployed.text, encoding="utf-8")
    try:
        answer = _edited(deployed, path, message)
    except (FaultError, CliError) as error:
        raise CliError(f"{error}\nyour text is in {path}") from None
    shutil.rmtree(directory)
    if answer is None:
        say("nothing was changed")
    else:
        _decide(answer, yes=yes, json=json)


def _edited(deployed: host.AgentConfig, path: Path, message: str) -> host.Response | None:
    """The proposal of what the operator made of the file; nothing when they left it as it was."""
    while True:
        editor.edit(path)
        text = _text_of(path)
        if text == deployed.text:
            return None
        try:
            return _propose(deployed, text, message)
        except FaultError as fault:
            if fault.kind is not FaultKind.BAD_CONFIG:
                raise
            say(fault.message)
            if not agreed("Edit it again?"):
                raise


def _propose(deployed: host.AgentConfig, text: str, message: str) -> host.Response:
    return ask(
        host.EditConfig(name=deployed.name, text=text, base=deployed.sha, description=message),
        doing=f"checking the config of {deployed.name}",
    )


def _decide(answer: host.Response, *, yes: bool, json: bool) -> None:
    """Show what the proposal changes and approve it, or take it back."""
    if json:
        put_json(answer)
    rows = ask(host.Pending()).approvals or []
    for approval in answer.ids or []:
        row = proposals.find(rows, approval)
        if row is None:
            raise CliError(f"the hive has lost proposal {approval}; its log may say why")
        sha = (row.fetched_sha or "") if yes and json else proposals.show(row)
        if not yes and not agreed(f"{proposals.effect(row, sha)}. Go on?"):
            ask(host.Deny(id=approval, reason=WITHDRAWN))
            raise CliError(f"nothing was changed; proposal {approval} is {WITHDRAWN}")
        cmd_approve.decide(approval, sha or None, json=json)


def _text_of(path: Path) -> str:
    if path == Path("-"):
        data = sys.stdin.buffer.read(LARGEST + 1)
    else:
        try:
            with path.open("rb") as opened:
                data = opened.read(LARGEST + 1)
        except OSError as error:
            raise CliError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > LARGEST:
        raise CliError(f"cannot take {path}: an agent.toml holds {LARGEST // 1024} KiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise CliError(f"cannot take {path}: it is not UTF-8 text") from None
