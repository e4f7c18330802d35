"""`hive auth`: claude's login in an agent's container."""

from hyperhive.cli.hive import ask
from hyperhive.cli.options import Agent, Json
from hyperhive.cli.output import CliError, asked, put, put_json, say
from hyperhive.protocol import host
from hyperhive.protocol.agent import Login, LoginState
from hyperhive.protocol.login_links import trusted_login_url


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
