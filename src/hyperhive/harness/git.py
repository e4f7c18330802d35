"""What git is told in a container: who commits, and whose repositories it may read."""

from pathlib import Path
from typing import Final

from hyperhive.harness.log import say
from hyperhive.protocol.ids import MANAGER
from hyperhive.protocol.settings import AgentDocument

APPLIED: Final = "/applied"


def config(document: AgentDocument) -> str:
    """The text of a `.gitconfig`.

    What is applied is the hive's own, so the manager's git must be told of each; never of all repositories there are:
    in one of another agent's, git would run what that agent has written into its config.
    """
    lines = ["[user]", f"\tname = {document.name}", f"\temail = {document.name}@hyperhive"]
    if document.name == MANAGER:
        lines += [
            "[safe]",
            *(f"\tdirectory = {APPLIED}/{name}{git}" for name in document.peers for git in ("", "/.git")),
        ]
    return "\n".join([*lines, ""])


def configure(home: Path, document: AgentDocument) -> None:
    """Write it, where the agent has none; without it claude is told by git itself what to do."""
    try:
        with (home / ".gitconfig").open("x") as file:
            file.write(config(document))
    except FileExistsError:
        pass
    except OSError as error:
        say(f"git is not configured: {error.filename}: {error.strerror}")
