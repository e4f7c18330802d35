"""Changes of the team, which the operator decides: asking for them, and what became of it."""

from typing import Annotated, Final

from msgspec import Meta

from hyperhive.harness.quotation import fenced, one_line, one_word, utc
from hyperhive.harness.tools.tool import Hive, Input, Tool, listed
from hyperhive.protocol import agent
from hyperhive.protocol.agent import ApprovalInfo, GetApprovals, RequestApplyCommit, Requested, RequestSpawn, Summary
from hyperhive.protocol.ids import AnyName

COPY_S: Final = 300.0
"""How long the hive may take to copy and check a commit."""


class RequestSpawnInput(Input):
    name: Annotated[AnyName, Meta(description="Of the new agent: a-z, 0-9 and -, beginning with a letter")]
    description: Annotated[str, Meta(max_length=500, description="What the agent is for, and why it is needed")] = ""


class RequestApplyCommitInput(Input):
    agent: Annotated[AnyName, Meta(description="Whose config it is")]
    commit_ref: Annotated[
        str, Meta(max_length=128, description="The commit's hash, as `git rev-parse HEAD` gives it; no branch, no tag")
    ]
    description: Annotated[Summary, Meta(description="What changes and why, for the operator")] = ""


class GetApprovalsInput(Input):
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


class Approvals:
    def __init__(self, hive: Hive) -> None:
        self._hive = hive

    def tools(self) -> list[Tool]:
        return [
            Tool(
                name="request_spawn", takes=RequestSpawnInput, carry_out=self._request_spawn,
                says="Ask the operator for a new agent with the usual config. Approved, it is built and started.",
            ),
            Tool(
                name="request_init_config", takes=RequestSpawnInput, carry_out=self._request_init_config,
                says="Ask the operator for the config repository of a new agent, to prepare it before the agent is "
                "first started. Approved, `config_ready` tells you that it is there.",
            ),
            Tool(
                name="request_apply_commit", takes=RequestApplyCommitInput, carry_out=self._request_apply_commit,
                says="Propose a commit of an agent's config repository. The hive pins it and checks it; approved, it "
                "is built and live.",
            ),
            Tool(
                name="get_approvals", takes=GetApprovalsInput, carry_out=self._get_approvals,
                says="The newest requests: what waits for the operator, what was decided and why.",
            ),
        ]  # fmt: skip

    async def _request_spawn(self, given: RequestSpawnInput) -> str:
        return requested(await self._hive.call(agent.REQUEST_SPAWN, self._of(given)))

    async def _request_init_config(self, given: RequestSpawnInput) -> str:
        return requested(await self._hive.call(agent.REQUEST_INIT_CONFIG, self._of(given)))

    def _of(self, given: RequestSpawnInput) -> RequestSpawn:
        return RequestSpawn(mid=self._hive.new_mid(), name=given.name, description=given.description)

    async def _request_apply_commit(self, given: RequestApplyCommitInput) -> str:
        request = RequestApplyCommit(
            mid=self._hive.new_mid(), agent=given.agent, commit_ref=given.commit_ref, description=given.description
        )
        return requested(await self._hive.call(agent.REQUEST_APPLY_COMMIT, request, answer_s=COPY_S))

    async def _get_approvals(self, given: GetApprovalsInput) -> str:
        approvals = (await self._hive.call(agent.GET_APPROVALS, GetApprovals(limit=given.limit))).approvals
        return listed([*map(_shown, approvals)], empty="there are no requests")


def requested(answer: Requested) -> str:
    """What waits for the operator now, in words."""
    commit = f", pinned at {one_word(answer.sha)}" if answer.sha else ""
    lines = [f"approval {answer.approval} waits for the operator{commit}; `approval_resolved` tells the decision"]
    if answer.warnings:
        lines += ["The operator is warned of:", *(f"- {one_line(warning)}" for warning in answer.warnings)]
    return "\n".join(lines)


def _shown(approval: ApprovalInfo) -> str:
    whose = one_word(approval.agent) if approval.agent else "all agents"
    facts = [
        f"approval {approval.id}: {one_word(approval.kind)} of {whose}",
        one_word(approval.status),
        f"commit {one_word(approval.sha)}" if approval.sha else "",
        f"requested {utc(approval.requested_at)}",
        f"resolved {utc(approval.resolved_at)}" if approval.resolved_at is not None else "",
    ]
    lines = [", ".join(fact for fact in facts if fact)]
    lines += [fenced(text) for text in (approval.description, approval.note) if text]
    return "\n".join(lines)
