"""The operator's own claude on the agent's conversation: a program for whoever enters the container to attach.

The runner has written what to execute, where nobody but the agent reads it: a command line is there for every user of
the host to see. The number of this process stays beside it, so that the runner can end what outlives its terminal.
"""

import os
import sys
from pathlib import Path
from typing import Final

PLAN: Final = "attach.json"
PID: Final = "attach.pid"
_OF_TERMINAL: Final = ("TERM", "COLORTERM")


def main() -> int:
    import json  # only here: the runner imports this file for two names

    folder = Path(os.environ.get("TMPDIR") or "/tmp") / "hyperhive-claude"
    try:
        plan = json.loads((folder / PLAN).read_bytes())
        (folder / PID).write_text(str(os.getpid()))
        os.chdir(plan["cwd"])
        terminal = {name: os.environ[name] for name in _OF_TERMINAL if name in os.environ}
        os.execve(plan["argv"][0], plan["argv"], {**plan["env"], **terminal})
    except (OSError, ValueError, KeyError) as error:
        print(f"cannot start claude: {error}", file=sys.stderr)  # noqa: T201 - the operator's terminal
    return 1


if __name__ == "__main__":
    sys.exit(main())
