"""host.sock's whole surface as one table: each verb and what answers it."""

from collections.abc import Callable
from typing import Any, Final

from hyperhive.api import jobs, lives, mail, proposals, questions, roster, watching
from hyperhive.api.answers import Answer
from hyperhive.hub.hive import Hive
from hyperhive.protocol import host

ENDPOINTS: Final[dict[type[Any], Callable[[Hive, Any], Answer]]] = {
    host.List: roster.list_agents,
    host.AgentStatus: roster.agent_status,
    host.SubscribeAgentStatus: roster.subscribe_agent_status,
    host.Hello: roster.hello,
    host.Urls: roster.urls,
    host.Tombstones: roster.tombstones,
    host.Spawn: lives.spawn,
    host.Destroy: lives.destroy,
    host.Rebuild: lives.rebuild,
    host.Start: lives.start,
    host.Stop: lives.stop,
    host.Kill: lives.kill,
    host.Restart: lives.restart,
    host.SetPaused: lives.set_paused,
    host.RequestSpawn: proposals.request_spawn,
    host.Pending: proposals.pending,
    host.Approve: proposals.approve,
    host.Deny: proposals.deny,
    host.Send: mail.send,
    host.WaitReply: mail.wait_reply,
    host.Inbox: mail.inbox,
    host.InboxHandled: mail.inbox_handled,
    host.ReceiptFor: mail.receipt,
    host.DeadLetters: mail.dead_letters,
    host.Requeue: mail.requeue,
    host.Drop: mail.drop,
    host.Watch: watching.watch,
    host.Logs: watching.logs,
    host.SetModel: watching.set_model,
    host.Cancel: watching.cancel,
    host.NewSession: watching.new_session,
    host.Shell: watching.shell,
    host.Revive: lives.revive,
    host.Purge: lives.purge,
    host.RequestInitConfig: proposals.request_init_config,
    host.RequestApplyCommit: proposals.request_apply_commit,
    host.EditConfig: proposals.edit_config,
    host.Diff: proposals.diff,
    host.Rollback: proposals.rollback,
    host.Deployments: proposals.deployments,
    host.Config: proposals.config,
    host.UpdateAll: lives.update_all,
    host.Jobs: jobs.jobs,
    host.JobLog: jobs.job_log,
    host.CancelJob: jobs.cancel_job,
    host.Questions: questions.questions,
    host.Ask: questions.ask,
    host.Answer: questions.answer,
    host.CancelQuestion: questions.cancel_question,
    host.Reminders: questions.reminders,
    host.CancelReminder: questions.cancel_reminder,
}
