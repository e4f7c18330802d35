"""What stands beside the terminal on an agent's page."""

from typing import Final

from hyperhive.web.sections import AgentSection

AGENT_SECTIONS: Final[tuple[AgentSection, ...]] = ()
