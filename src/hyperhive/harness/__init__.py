"""What runs inside a container: the runner, and the turn worker that drives claude.

The *runner* (asyncio and msgspec, nothing heavier) is the first process; it holds the connection to the hive, leases
messages, stores events and starts the *turn worker*, the only part that imports claude-agent-sdk, when there is work.
Imports only `hyperhive.protocol`. This file stays empty of imports, because both processes pay for it.

Exit status of the runner: 0 after an orderly stop, 1 after a mistake of ours, 2 when what it was given to start with
is unusable (the text says what), 3 when a newer harness of the same agent has taken over.
"""


def runner_argv(python: str) -> list[str]:
    """The command of a container's first process; `python` is the interpreter of the environment that has hyperhive.

    Isolated (`-I`): neither the working directory, which the agent can write, nor its environment adds modules.
    """
    return [python, "-I", "-m", "hyperhive.harness.runner"]
