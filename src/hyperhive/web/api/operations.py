"""The API's whole surface as one table: each operation is a verb of host.sock, answered by what answers that."""

import functools
from collections.abc import Callable
from typing import Any, Final

from msgspec import Struct

from hyperhive.api.answers import Answer
from hyperhive.api.endpoints import ENDPOINTS
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host
from hyperhive.web.api import looking
from hyperhive.web.api.answering import answer
from hyperhive.web.api.operation import DELETE, GET, POST, Operation
from hyperhive.web.route import API, WebRoute

NOT_HERE: Final[dict[type[Any], str]] = {
    host.Shell: "it is a command for the operator's own machine",
    host.Attach: "it is for the operator's own terminal",
    host.BuildImage: "what containers are made from is the operator's to make",
    host.Images: "what containers are made from is looked at on the machine itself",
    host.VerifyImages: "it reads all images, which takes minutes",
    host.CollectImages: "no program deletes what containers are made from",
    host.LoginLink: "a token must not become a session",
    host.WebSessions: "who is logged in is the operator's business",
    host.RevokeWebSession: "a token must not end a session",
    host.CreateToken: "a token must not make another",
    host.Tokens: "a token must not list the others",
    host.RevokeToken: "a token must not end another",
    host.AddNotifyTarget: "where the operator is told is no program's to choose",
    host.NotifyTargets: "where the operator is told is no program's business",
    host.RemoveNotifyTarget: "what tells the operator is no program's to end",
    host.TestNotifyTarget: "no program writes to the operator elsewhere",
    host.SetCredential: "a secret of the operator's comes in by the operator",
    host.Credential: "the hive's own credential is no program's business",
    host.UnsetCredential: "the hive's own credential is no program's to end",
    host.List: "GET /agents has the names, and more",
    host.SubscribeAgentStatus: "it does not end",
    host.Watch: "it does not end; GET /agents/{name}/events has what is kept",
    host.Urls: "it belongs to another generation of clients, and is empty",
    host.Kill: "it is the older spelling of POST /agents/{name}/stop",
}
"""Verbs that no operation is, and why."""


def _row(
    method: str,
    path: str,
    verb: type[Struct],
    summary: str,
    *gives: str,
    may_give: tuple[str, ...] = (),
    fixed: dict[str, Any] | None = None,
    whom: str = "",
    answers: Callable[[Hive, Any], Answer] | None = None,
) -> Operation:
    return Operation(
        method=method, path=path, takes=verb, answers=answers or ENDPOINTS[verb], gives=gives, may_give=may_give,
        summary=summary, fixed=fixed or {}, whom=whom,
    )  # fmt: skip


_CUT: Final = ("warning",)
_ONCE: Final = {"follow": False}
OPERATIONS: Final[tuple[Operation, ...]] = (
    # the hive
    _row(GET, "/hive", host.Hello, "The daemon: its version, its directories, its backend", "hive"),
    _row(GET, "/stats", host.Stats, "What turns came to in some time", "stats", "budgets", fixed={"name": None}),
    _row(GET, "/budgets", host.Budgets, "What all agents spent and may spend", "budgets", fixed={"name": None}),
    _row(POST, "/budgets", host.SetHiveBudget, "Bound what all agents together may spend", "budgets"),
    _row(POST, "/budgets/top-up", host.TopUp, "Let the hive spend more today", "budgets", fixed={"name": None}),
    _row(GET, "/reserve", host.Reserve, "What is yours of every account's windows", "reserve",
         fixed={"percent": None}),
    _row(POST, "/reserve", host.Reserve, "Keep another part of them for yourself", "reserve"),
    _row(POST, "/start", host.Start, "Start several agents"),
    _row(POST, "/stop", host.Stop, "Stop several agents"),
    _row(POST, "/update-all", host.UpdateAll, "Rebuild what is older than it would be made now", "queued_dags"),
    # agents
    _row(GET, "/agents", host.AgentStatus, "All agents and how they are", "agent_statuses"),
    _row(POST, "/agents", host.Spawn, "Make an agent"),
    _row(GET, "/agents/{name}", looking.Agent, "One agent", "agent_statuses", answers=looking.agent),
    _row(DELETE, "/agents/{name}", host.Destroy, "Destroy an agent; with `purge` its state, too"),
    _row(POST, "/agents/{name}/start", host.Start, "Start it", whom="scope"),
    _row(POST, "/agents/{name}/stop", host.Stop, "Stop it; `graceful`: after the turn under way", whom="scope"),
    _row(POST, "/agents/{name}/restart", host.Restart, "Restart its container"),
    _row(POST, "/agents/{name}/rebuild", host.Rebuild, "Make its container anew"),
    _row(POST, "/agents/{name}/move", host.Move, "Make its container by another backend"),
    _row(POST, "/agents/{name}/pause", host.SetPaused, "Give it no more turns", fixed={"paused": True}),
    _row(POST, "/agents/{name}/resume", host.SetPaused, "Give it turns again", fixed={"paused": False}),
    _row(POST, "/agents/{name}/cancel", host.Cancel, "Interrupt the turn under way", "done"),
    _row(POST, "/agents/{name}/model", host.SetModel, "Choose its model", "model", may_give=_CUT),
    _row(POST, "/agents/{name}/new-session", host.NewSession, "Begin a new conversation", "done"),
    _row(POST, "/agents/{name}/compact", host.Compact, "Have it summarise its conversation", "done"),
    _row(POST, "/agents/{name}/login", host.AgentLogin, "Begin a login of claude's in its container", "login"),
    _row(POST, "/agents/{name}/login/code", host.AgentLoginCode, "Hand over the code from the link", "login"),
    _row(POST, "/agents/{name}/login/cancel", host.AgentLoginCancel, "Give the login up", "done"),
    _row(GET, "/agents/{name}/inbox", host.Inbox, "The newest messages to it", "inbox", may_give=_CUT,
         answers=looking.inbox),
    _row(GET, "/agents/{name}/events", looking.Events, "A part of its history", "events", answers=looking.events),
    _row(GET, "/agents/{name}/logs", host.Logs, "What its container wrote last", may_give=("messages", *_CUT),
         fixed=_ONCE),
    _row(GET, "/agents/{name}/budget", host.Budgets, "What it spent and may spend", "budgets"),
    _row(POST, "/agents/{name}/budget/top-up", host.TopUp, "Let it spend more today", "budgets"),
    _row(GET, "/agents/{name}/stats", host.Stats, "What its turns came to in some time", "stats", "budgets"),
    # its config
    _row(GET, "/agents/{name}/config", host.Config, "Its settings as they are in effect", "config"),
    _row(POST, "/agents/{name}/config", host.EditConfig, "Propose another agent.toml", "ids", "approvals"),
    _row(POST, "/agents/{name}/proposals", host.RequestApplyCommit, "Propose a commit of its repository", "ids",
         "approvals"),
    _row(GET, "/agents/{name}/deployments", host.Deployments, "What was deployed", "deployments"),
    _row(POST, "/agents/{name}/rollback", host.Rollback, "Deploy an earlier deployment again", "queued_dags"),
    # decisions
    _row(GET, "/approvals", host.Pending, "What waits for a decision, and the newest of the rest", "approvals"),
    _row(GET, "/approvals/{id}", looking.Approval, "One approval", "approvals", answers=looking.approval),
    _row(GET, "/approvals/{id}/diff", host.Diff, "What it would change, whole", may_give=("diff", "done", *_CUT)),
    _row(POST, "/approvals/{id}/approve", host.Approve, "Approve it, and wait until it is carried out"),
    _row(POST, "/approvals/{id}/deny", host.Deny, "Deny it"),
    _row(POST, "/requests/spawn", host.RequestSpawn, "Queue a spawn for a decision", "ids", "approvals"),
    _row(POST, "/requests/init-config", host.RequestInitConfig, "Queue the making of a config repository", "ids",
         "approvals"),
    # mail
    _row(GET, "/messages", looking.Messages, "The newest messages of everybody", "inbox", may_give=_CUT,
         answers=looking.messages),
    _row(POST, "/messages", host.Send, "Send a message as the operator", "ids"),
    _row(GET, "/messages/{id}", looking.Message, "One message, whole", "inbox", answers=looking.message),
    _row(GET, "/messages/{id}/receipt", host.ReceiptFor, "Where a message is", "receipt"),
    _row(GET, "/messages/{id}/reply", host.WaitReply, "Wait for the first answer to it", "inbox",
         answers=looking.reply),
    _row(GET, "/inbox", host.Inbox, "The operator's inbox", "inbox", may_give=_CUT, fixed={"name": "operator"}),
    _row(POST, "/inbox/handled", host.InboxHandled, "Mark messages of the operator's inbox as seen"),
    _row(GET, "/dead-letters", host.DeadLetters, "Messages that were given up", "inbox", may_give=_CUT),
    _row(POST, "/dead-letters/{id}/requeue", host.Requeue, "Give one back to its recipient"),
    _row(DELETE, "/dead-letters/{id}", host.Drop, "Set one aside for good"),
    # questions and reminders
    _row(GET, "/questions", host.Questions, "Questions that are not answered, or all", "questions"),
    _row(POST, "/questions", host.Ask, "Ask an agent as the operator", "ids"),
    _row(POST, "/questions/{id}/answer", host.Answer, "Answer one"),
    _row(POST, "/questions/{id}/cancel", host.CancelQuestion, "Take one back"),
    _row(GET, "/reminders", host.Reminders, "What agents will be reminded of", "reminders"),
    _row(POST, "/reminders/{id}/cancel", host.CancelReminder, "Cancel one"),
    # schedules
    _row(GET, "/schedules", host.Schedules, "What schedules send, and when", "schedules", may_give=_CUT,
         fixed={"name": None}),
    _row(GET, "/agents/{name}/schedules", host.Schedules, "What its schedules send, and when", "schedules",
         may_give=_CUT),
    _row(POST, "/agents/{name}/schedules/{schedule}/pause", host.SetSchedulePaused, "Have it send nothing",
         fixed={"paused": True}),
    _row(POST, "/agents/{name}/schedules/{schedule}/resume", host.SetSchedulePaused, "Have it send again",
         fixed={"paused": False}),
    _row(POST, "/agents/{name}/schedules/{schedule}/fire", host.FireSchedule, "Send its message now"),
    # jobs and tombstones
    _row(GET, "/jobs", host.Jobs, "Work on containers, newest first", "jobs", fixed=_ONCE),
    _row(GET, "/jobs/{id}", looking.Job, "One job", "jobs", answers=looking.job),
    _row(GET, "/jobs/{id}/log", host.JobLog, "What it wrote", may_give=("messages", "jobs", *_CUT), fixed=_ONCE),
    _row(POST, "/jobs/{id}/cancel", host.CancelJob, "Cancel one", "jobs"),
    _row(GET, "/meta-inputs", host.MetaInputs, "What agents' systems on NixOS are made from", "meta_inputs"),
    _row(POST, "/requests/update-meta-inputs", host.RequestUpdateMetaInputs, "Queue newer revisions of inputs", "ids",
         "approvals"),
    _row(GET, "/tombstones", host.Tombstones, "Destroyed agents whose state was kept", "tombstones"),
    _row(POST, "/tombstones/{name}/revive", host.Revive, "Make the agent again from what was kept"),
    _row(DELETE, "/tombstones/{name}", host.Purge, "Delete for good what was kept"),
)  # fmt: skip


def route_of(operation: Operation) -> WebRoute:
    return WebRoute(
        path=API + operation.path.replace("{id}", "{id:int}"), handler=functools.partial(answer, operation),
        methods=(operation.method,), access=operation.access,
    )  # fmt: skip
