"""A hive in the middle of a working day: agents in different states, and something of everything that can wait."""

import time

from config_house import git
from hyperhive.protocol import host
from hyperhive.testing.hive_process import HiveProcess
from manager_house import asks, at_rest

AGENTS = ("builder", "reviewer", "scout", "writer")
REPORT = """## The release is nearly there

I went through **all 42 open points**; three of them are left:

1. `hive restore` refuses a backup whose name has a space in it
2. the page about agents still shows the *old* keys
3. nobody has tried the upgrade from 0.3 on a machine with 200 agents

| point | who | effort |
|---|---|---|
| restore | builder | an hour |
| page | writer | ten minutes |
| upgrade | scout | unknown |

```
$ hive restore "my backup.tar"
cannot restore 'my': there is no such file
```

> Shall I go on with the third one, or is that for later? See [the list](https://example.org/points).
"""
QUESTION = (
    "The tests of the upgrade need a machine with 200 agents. Shall I make one (about 3 USD an hour), or skip them?"
)
SETTINGS = """description = "Builds and tests what the others write"

[limits]
memory = "8G"

[network]
allow = ["pypi.org", "files.pythonhosted.org"]
"""


def furnish(hive: HiveProcess) -> None:
    """Needs a hive with a manager. No agent of it begins a turn."""
    for name in AGENTS:
        hive.ask(host.Spawn(name=name, description=f"The {name} of the project"))
    at_rest(hive, "manager", *AGENTS)
    for name, text in [
        ("builder", "Building 0.4.0 for Debian 12 and NixOS; 3 of 7 packages are done"),
        ("reviewer", "Waiting for the builder"),
        ("scout", "Reading the change log of every dependency, one after another, looking for what breaks us"),
    ]:
        asks(hive, name, "set_status", text=text)
    _write(hive)
    _decide(hive)
    hive.ask(host.Stop(scope=host.LifecycleScope(agent_names=["writer"])))
    asks(hive, "reviewer", "report", needs_login=True, context_tokens=187_400)
    asks(hive, "builder", "report", context_tokens=64_200, limited_until=time.time() + 5400)


def _write(hive: HiveProcess) -> None:
    letter(hive, "builder", "The packages for Debian are built: [list](https://example.org/packages).")
    letter(hive, "scout", REPORT)
    hive.send("writer", "Please describe the new dashboard, a page at most. " + "It should be short. " * 60)
    asks(hive, "scout", "send", mid="to-builder", to="builder", body="libgit2 1.9 drops Python 3.9; we are fine",
         in_reply_to=None, turn=None)  # fmt: skip
    asks(hive, "scout", "remind", mid="r1", message="See whether libgit2 1.9.1 is out", delay_seconds=5400)
    asks(hive, "builder", "remind", mid="r2", message="Clean the build directory", delay_seconds=86_400 * 2)
    question(hive, "scout", QUESTION, "Make the machine", "Skip them", "Ask again tomorrow")
    question(hive, "builder", "What shall the release be called?")


def _decide(hive: HiveProcess) -> None:
    propose(hive, "builder", SETTINGS, "Builds run out of memory, and pip needs its index")
    repository = hive.paths.agent_config("scout")
    (repository / "prompt.md").write_text("".join(f"Line {n} of what the scout is told\n" for n in range(40)))
    mine = ("-c", "safe.directory=*")  # it is the manager's
    git(repository, *mine, "add", "-A")
    git(repository, *mine, "commit", "-qm", "a prompt")
    hive.ask(host.RequestApplyCommit(name="scout", description="Tell it what to look for"))
    hive.ask(host.RequestSpawn(name="tester", description="Somebody who tries what the others have built"))


def letter(hive: HiveProcess, sender: str, body: str) -> int:
    """Mail to the operator."""
    ids: list[int] = asks(hive, sender, "send", mid=body[:60], to="operator", body=body, in_reply_to=None, turn=None)[
        "ids"
    ]
    return ids[0]


def question(hive: HiveProcess, asker: str, text: str, *options: str) -> int:
    number: int = asks(
        hive, asker, "ask", mid=text[:60], question=text, options=list(options), multi=False, ttl_seconds=3600, to=None
    )["id"]
    return number


def propose(hive: HiveProcess, name: str, text: str, description: str) -> host.Approval:
    base = hive.ask(host.Config(name=name)).config
    assert isinstance(base, host.AgentConfig)
    rows = hive.ask(host.EditConfig(name=name, text=text, base=base.sha, description=description)).approvals
    assert isinstance(rows, list)
    return rows[0]
