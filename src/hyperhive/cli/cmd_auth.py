"""`hive auth`: claude's login in an agent's container, and the credential that the hive has for its agents."""

import getpass
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from hyperhive.cli.ages import age
from hyperhive.cli.hive import ask, tell
from hyperhive.cli.options import Agent, Json, Yes
from hyperhive.cli.output import CliError, asked, confirm, put, put_json, say
from hyperhive.protocol import host
from hyperhive.protocol.agent import Login, LoginState
from hyperhive.protocol.login_links import trusted_login_url

MAX_SECRET: Final = 4096
MAX_ENV_FILE: Final = 65536
_HOW: Final = 'agents whose config says `credentials = "hive"` have it from claude\'s next start'


def login(name: Agent, json: Json = False) -> None:
    """Log claude in, in the agent's own container: shows the link, asks for the code, says what became of it.

    With --json each step of the login is a line of JSON, and the codes are read from stdin.
    """
    try:
        state = _show(ask(host.AgentLogin(name=name), doing=f"asking claude in {name} for its link"), json=json)
        while state.state == LoginState.WAITING:
            code = asked("" if json else "the code:")
            if not code:
                raise CliError(f"no code was given; the login of {name} is cancelled")
            answer = ask(host.AgentLoginCode(name=name, code=code), doing="claude checks the code")
            state = _show(answer, json=json)
    except (KeyboardInterrupt, CliError):
        ask(host.AgentLoginCancel(name=name))
        raise
    if state.state != LoginState.DONE:
        raise CliError(f"claude in {name} is not logged in: {state.note or state.state}")
    if not json:
        say(f"claude in {name} is logged in; it goes on with its mail by itself")


def set_credential(
    env_file: Annotated[
        Path | None,
        typer.Option("--env-file", metavar="PATH", help="NAME=VALUE lines: Bedrock, Vertex, Foundry, a gateway."),
    ] = None,
    json: Json = False,
) -> None:
    """Give the hive a credential of its own: an API key, or a token of `claude setup-token`.

    It is asked for without showing it, or read from stdin.
    """
    request = (
        host.SetCredential(secret=_unseen()) if env_file is None else host.SetCredential(env_file=_text(env_file))
    )
    answer = ask(request)
    kind, fingerprint = (answer.credential.kind, answer.credential.fingerprint) if answer.credential else ("", "")
    tell(answer, f"the hive has a credential: {kind}, fingerprint {fingerprint}; {_HOW}", json=json)


def show(json: Json = False) -> None:
    """Say which credential the hive has: its kind, a fingerprint, since when and for whom. Never the credential."""
    answer = ask(host.Credential())
    if json:
        put_json(answer)
        return
    if not answer.credential:
        say("the hive has no credential of its own; `hive auth set` gives it one")
    for shown in [*([answer.credential] if answer.credential else []), *(answer.accounts or [])]:
        _put_credential(shown)


def _put_credential(shown: host.HiveCredential) -> None:
    if shown.account:
        put(f"account      {shown.account}")
    put(f"kind         {shown.kind}: {', '.join(shown.variables)}")
    put(f"fingerprint  {shown.fingerprint}")
    put(f"set          {shown.set_at}, {age(shown.set_at)} ago")
    put(f"agents       {', '.join(shown.agents) or 'none asks for it in its config'}")


def unset(yes: Yes = False, json: Json = False) -> None:
    """Forget the hive's credential. Agents that use it need another login from claude's next start on."""
    confirm("this forgets the hive's credential; agents that use it will wait for a login", yes=yes)
    answer = ask(host.UnsetCredential())
    tell(answer, "the hive's credential is forgotten" if answer.done else "the hive had no credential", json=json)


def _unseen() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("the API key or token: ").strip()
    return _bounded(sys.stdin.read(MAX_SECRET + 1), MAX_SECRET).strip()


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_ENV_FILE + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise CliError(f"cannot read {path}: {why}") from None
    return _bounded(text, MAX_ENV_FILE)


def _bounded(text: str, limit: int) -> str:
    if not text.strip():
        raise CliError("no credential was given; nothing was changed")
    if len(text) > limit:
        raise CliError(f"that is more than {limit} characters; nothing was changed")
    return text


def _show(answer: host.Response, *, json: bool) -> Login:
    state = answer.login or Login(state="")
    if json:
        put_json(answer)
    elif state.note and state.state == LoginState.WAITING:
        say(state.note)
    elif state.url and trusted_login_url(state.url):
        put(state.url)
        say("open it in a browser, sign in, and bring the code back")
    elif state.url:
        put(state.url)
        say("warning: this link does not lead to claude's makers; do not open it unless you know why")
    return state
