"""`hive shell`: into an agent's container."""

import os
from typing import Final

from hyperhive.cli.hive import ask
from hyperhive.cli.options import Agent, Json
from hyperhive.cli.output import CliError, put_json
from hyperhive.protocol import host

_PASSED_ON: Final = ("TERM", "COLORTERM", "LANG", "PATH")
"""All that the container learns of the operator's environment."""


def run(name: Agent, json: Json = False) -> int:
    """Open a shell in an agent's container. What runs in there can write anything to your terminal."""
    answer = ask(host.Shell(name=name), doing=f"opening {name}")
    if json:
        put_json(answer)
        return 0
    if not answer.shell or not answer.shell.argv:
        raise CliError(f"the hive knows no way into {name}")
    if answer.shell.needs_root and os.geteuid() != 0:
        raise CliError(f"only root can enter {name}'s container: run `sudo hive shell {name}`")
    # It makes a terminal of its own inside of ours, so that nothing in the container ever holds ours.
    os.execvpe(answer.shell.argv[0], answer.shell.argv, passed_on())


def passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
