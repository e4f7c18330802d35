"""The operator's way into an agent's container: a shell in it, claude on its conversation, what it has written."""

from collections.abc import AsyncIterator

from hyperhive.containers.keeper import LogUnit, no_such_log
from hyperhive.hub.agents import Agent
from hyperhive.hub.house import House
from hyperhive.hub.plan import shell_environment
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.host import ShellCommand
from hyperhive.protocol.ids import container_name


def shell(house: House, agent: Agent) -> ShellCommand:
    """What the operator executes to get a shell in the container. Raises FaultError when it is down."""
    # not as at a login: a base's /etc/profile would take claude from its PATH
    return _command(house, agent, "/bin/sh")


async def attach_command(house: House, agent: Agent) -> ShellCommand:
    """What the operator executes to have claude on the agent's conversation, once its harness has left it to them.
    Raises FaultError when it is down."""
    generation = await house.images.current(agent.name) if agent.row.backend is BackendKind.NSPAWN else None
    python = str(generation.python) if generation else house.runner_argv[0]
    return _command(house, agent, python, "-I", "-m", "hyperhive.harness.attach")


def _command(house: House, agent: Agent, *argv: str) -> ShellCommand:
    entered = house.keeper(agent).enter_argv(
        container_name(agent.name), argv, env=shell_environment(agent, house.tooling), cwd="/state"
    )
    return ShellCommand(argv=list(entered), needs_root=house.per_agent_uids)


async def log_units(house: House, agent: Agent) -> tuple[LogUnit, ...]:
    """Whose logs there are of the container; what is usually wanted comes first."""
    return await house.keeper(agent).units(container_name(agent.name))


async def logs(
    house: House, agent: Agent, *, lines: int, follow: bool, unit: str = "", boot: bool = False
) -> AsyncIterator[list[str]]:
    """What the container wrote, hostile text, in batches; with `follow` without an end. `unit` empty: the first.

    Raises FaultError (`wrong_state`) for a unit that there is no log of.
    """
    keeper, container = house.keeper(agent), container_name(agent.name)
    there = await keeper.units(container)
    if unit and unit not in there:
        raise no_such_log(agent.name, unit[:64], there)
    wanted = LogUnit(unit) if unit else None
    if not follow:
        yield await keeper.logs(container, lines=lines, unit=wanted, boot=boot)
        return
    async for line in keeper.follow_logs(container, lines=lines, unit=wanted, boot=boot):
        yield [line]
