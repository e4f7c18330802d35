"""What an agent's login panel says of the hive's credential."""

import asyncio
import tempfile
from pathlib import Path

from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.protocol.ids import AgentName
from hyperhive.web.agent_page import sections_of
from hyperhive.web.sections import Section

KEY = "sk-ant-api03-" + "MARKER" * 8
SCOUT, OTHER = AgentName("scout"), AgentName("other")


def test_the_panel_says_whose_credential_claude_uses_and_never_the_credential() -> None:
    async def scene() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
            async with hive_at(paths, rehearsal=None) as hive:
                scout = await hive.fleet.make(SCOUT, {"agent.toml": 'credentials = "hive"\n'})
                await hive.fleet.make(OTHER, {"agent.toml": ""})
                panels = {name: _panel(name) for name in (SCOUT, OTHER)}
                await hive.fleet.set_needs_login(scout, True)
                assert "gives the hive one" in await panels[SCOUT].draw(hive)
                await hive.credentials.set(KEY, "")
                assert "If that was refused" in await panels[SCOUT].draw(hive)
                await hive.fleet.set_needs_login(scout, False)
                drawn = [await panel.draw(hive) for panel in panels.values()]
                assert ["claude uses it, as its config says" in text for text in drawn] == [True, False]
                assert "MARKER" not in "".join(drawn)

    asyncio.run(scene())


def test_the_panel_of_an_agent_with_an_account_names_it_and_where_its_credential_belongs(tmp_path: Path) -> None:
    (tmp_path / "red").write_text(f"{KEY}\n")

    async def scene() -> None:
        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
            async with hive_at(paths, rehearsal=None) as hive:
                scout = await hive.fleet.make(SCOUT, {"agent.toml": 'credentials = "hive"\naccount = "red"\n'})
                await hive.fleet.set_needs_login(scout, True)
                assert "and there is none: name its file there" in await _panel(SCOUT).draw(hive)
                await hive.credentials.open(None, {"red": tmp_path / "red"})
                assert "put another credential into its file" in await _panel(SCOUT).draw(hive)
                await hive.fleet.set_needs_login(scout, False)
                drawn = await _panel(SCOUT).draw(hive)
                assert "account red" in drawn
                assert "MARKER" not in drawn

    asyncio.run(scene())


def _panel(name: AgentName) -> Section:
    return next(section for section in sections_of(name) if section.name == "agent_login")
