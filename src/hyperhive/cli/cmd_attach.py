"""`hive attach`: claude in your terminal, on an agent's own conversation."""

import os
import sys
from typing import Annotated

import typer

from hyperhive.cli.cmd_shell import passed_on
from hyperhive.cli.hive import paths
from hyperhive.cli.options import Agent
from hyperhive.cli.output import CliError, say
from hyperhive.client import hold
from hyperhive.protocol import host

LEASE: str = "HYPERHIVE_LEASE"


def run(
    name: Agent,
    interrupt: Annotated[bool, typer.Option("--interrupt", help="End a turn under way; its messages wait.")] = False,
) -> int:
    """Open claude on an agent's own conversation. Its mail waits until you leave; what you say there, it remembers."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CliError("cannot attach: this is no terminal")
    answer, lease = hold(paths().host_socket, host.Attach(name=name, interrupt=interrupt))
    if not answer.shell or not answer.shell.argv:
        raise CliError(f"the hive knows no way into {name}")
    if answer.shell.needs_root and os.geteuid() != 0:
        raise CliError(f"only root can enter {name}'s container: run `sudo hive attach {name}`")
    say(f"attached to {name}: its mail waits until you leave (/exit)")
    # The connection goes on with the program that holds the terminal: however that ends, the hive sees it.
    lease.set_inheritable(True)
    os.execvpe(answer.shell.argv[0], answer.shell.argv, passed_on() | {LEASE: str(lease.fileno())})
