"""What all agents' systems on NixOS are made from: asking for newer revisions, which the operator decides."""

from typing import Annotated

from msgspec import Meta

from hyperhive.harness.tools.approvals import requested
from hyperhive.harness.tools.tool import Hive, Input, Tool
from hyperhive.protocol import agent
from hyperhive.protocol.agent import RequestUpdateMetaInputs, Summary


class Update(Input):
    inputs: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...],
        Meta(max_length=50, description="Names, such as `hyperhive/nixpkgs`; none: all"),
    ] = ()
    description: Annotated[Summary, Meta(description="Why, for the operator")] = ""


class Systems:
    def __init__(self, hive: Hive) -> None:
        self._hive = hive

    def tools(self) -> list[Tool]:
        return [
            Tool(
                name="request_update_meta_inputs", takes=Update, carry_out=self._request,
                says="Ask the operator for newer revisions of inputs of all agents' systems. Approved, the agents "
                "whose systems change are rebuilt. A name that is none is answered with those that there are.",
            )
        ]  # fmt: skip

    async def _request(self, given: Update) -> str:
        wish = RequestUpdateMetaInputs(mid=self._hive.new_mid(), inputs=[*given.inputs], description=given.description)
        return requested(await self._hive.call(agent.REQUEST_UPDATE_META_INPUTS, wish))
