"""`hive login`: a link into the dashboard."""

from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json
from hyperhive.cli.output import put, put_json, say
from hyperhive.protocol import host


def run(json: Json = False) -> None:
    """Print a link that logs one browser into the dashboard, once, within a minute."""
    answer = ask(host.LoginLink())
    if json:
        put_json(answer)
    else:
        put(str(answer.login_link))
        say("open it within a minute; it works once, and whoever opens it is the operator")
