"""The `hive` command: every subcommand in one list, and what their errors become."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import typer

from hyperhive.cli import (
    cmd_answer,
    cmd_approve,
    cmd_ask,
    cmd_attach,
    cmd_auth,
    cmd_budget,
    cmd_cancel,
    cmd_compact,
    cmd_config,
    cmd_dead,
    cmd_demo,
    cmd_deny,
    cmd_deployments,
    cmd_destroy,
    cmd_diff,
    cmd_doctor,
    cmd_edit,
    cmd_image,
    cmd_inbox,
    cmd_init_config,
    cmd_inputs,
    cmd_job,
    cmd_jobs,
    cmd_list,
    cmd_login,
    cmd_logs,
    cmd_migrate,
    cmd_model,
    cmd_move,
    cmd_new_session,
    cmd_notify,
    cmd_open,
    cmd_pause,
    cmd_pending,
    cmd_propose,
    cmd_purge,
    cmd_question,
    cmd_questions,
    cmd_rebuild,
    cmd_receipt,
    cmd_reminder,
    cmd_reminders,
    cmd_request_spawn,
    cmd_reserve,
    cmd_restart,
    cmd_resume,
    cmd_revive,
    cmd_rollback,
    cmd_schedule,
    cmd_schedules,
    cmd_send,
    cmd_serve,
    cmd_sessions,
    cmd_shell,
    cmd_spawn,
    cmd_start,
    cmd_stats,
    cmd_stop,
    cmd_token,
    cmd_tombstones,
    cmd_version,
    cmd_watch,
)  # fmt: skip
from hyperhive.cli.output import CliError, put_json, say
from hyperhive.client import ClientError, NoDaemonError
from hyperhive.protocol.faults import FaultError
from hyperhive.protocol.host import Response

REFUSED: Final = 1
NO_DAEMON: Final = 3
INTERRUPTED: Final = 130
TRACEBACK_VARIABLE: Final = "HYPERHIVE_TRACEBACK"


@dataclass(frozen=True, kw_only=True)
class Group:
    """Commands of two words."""

    name: str
    panel: str
    summary: str
    commands: dict[str, Callable[..., Any]]


COMMANDS: Final[dict[str, dict[str, Callable[..., Any]]]] = {
    "The hive": {
        "demo": cmd_demo.run,
        "serve": cmd_serve.run,
        "doctor": cmd_doctor.run,
        "migrate-from-hyperhive": cmd_migrate.run,
        "version": cmd_version.run,
    },
    "The dashboard": {
        "open": cmd_open.run,
        "login": cmd_login.run,
        "sessions": cmd_sessions.run,
    },
    "Agents": {
        "list": cmd_list.run,
        "spawn": cmd_spawn.run,
        "start": cmd_start.run,
        "stop": cmd_stop.run,
        "restart": cmd_restart.run,
        "rebuild": cmd_rebuild.run,
        "move": cmd_move.run,
        "destroy": cmd_destroy.run,
        "tombstones": cmd_tombstones.run,
        "revive": cmd_revive.run,
        "purge": cmd_purge.run,
    },
    "Mail": {
        "send": cmd_send.run,
        "inbox": cmd_inbox.run,
        "receipt": cmd_receipt.run,
        "questions": cmd_questions.run,
        "ask": cmd_ask.run,
        "answer": cmd_answer.run,
        "reminders": cmd_reminders.run,
        "schedules": cmd_schedules.run,
    },
    "Watching and steering": {
        "watch": cmd_watch.run,
        "logs": cmd_logs.run,
        "pause": cmd_pause.run,
        "resume": cmd_resume.run,
        "model": cmd_model.run,
        "cancel": cmd_cancel.run,
        "new-session": cmd_new_session.run,
        "compact": cmd_compact.run,
        "shell": cmd_shell.run,
        "attach": cmd_attach.run,
        "stats": cmd_stats.run,
        "budget": cmd_budget.run,
        "reserve": cmd_reserve.run,
    },
    "Decisions": {
        "pending": cmd_pending.run,
        "diff": cmd_diff.run,
        "approve": cmd_approve.run,
        "deny": cmd_deny.run,
        "config": cmd_config.run,
        "edit": cmd_edit.run,
        "propose": cmd_propose.run,
        "deployments": cmd_deployments.run,
        "rollback": cmd_rollback.run,
        "request-spawn": cmd_request_spawn.run,
        "init-config": cmd_init_config.run,
    },
    "Jobs": {
        "jobs": cmd_jobs.run,
    },
}
GROUPS: Final[tuple[Group, ...]] = (
    Group(
        name="auth", panel="Agents", summary="Claude's logins: an agent's own, and the hive's credential.",
        commands={
            "login": cmd_auth.login, "set": cmd_auth.set_credential, "show": cmd_auth.show, "unset": cmd_auth.unset,
        },
    ),
    Group(
        name="inputs", panel="Decisions", summary="On NixOS: what agents' systems are made from.",
        commands={"list": cmd_inputs.list_inputs, "update": cmd_inputs.update},
    ),
    Group(
        name="session", panel="The dashboard", summary="One browser, of `hive sessions`.",
        commands={"revoke": cmd_sessions.revoke},
    ),
    Group(
        name="token", panel="The dashboard", summary="Programs that use the dashboard's API.",
        commands={"create": cmd_token.create, "list": cmd_token.list_tokens, "revoke": cmd_token.revoke},
    ),
    Group(
        name="notify", panel="The hive", summary="Where you are told outside of the dashboard.",
        commands={
            "add": cmd_notify.add, "list": cmd_notify.list_targets, "remove": cmd_notify.remove,
            "test": cmd_notify.try_targets,
        },
    ),
    Group(
        name="image", panel="The hive", summary="What containers of the nspawn backend are made from.",
        commands={
            "build": cmd_image.build, "list": cmd_image.list_images, "verify": cmd_image.verify, "gc": cmd_image.gc,
        },
    ),
    Group(
        name="dead",
        panel="Mail",
        summary="Messages that were given up after several attempts.",
        commands={"list": cmd_dead.list_dead, "requeue": cmd_dead.requeue, "drop": cmd_dead.drop},
    ),
    Group(
        name="question", panel="Mail", summary="One question, of `hive questions`.",
        commands={"cancel": cmd_question.cancel},
    ),
    Group(
        name="reminder", panel="Mail", summary="One reminder, of `hive reminders`.",
        commands={"cancel": cmd_reminder.cancel},
    ),
    Group(
        name="schedule", panel="Mail", summary="One schedule, of `hive schedules`.",
        commands={"pause": cmd_schedule.pause, "resume": cmd_schedule.resume, "fire": cmd_schedule.fire},
    ),
    Group(
        name="job", panel="Jobs", summary="One job, of `hive jobs`.",
        commands={"log": cmd_job.log, "cancel": cmd_job.cancel},
    ),
)  # fmt: skip


def main() -> int:
    """The entry point of `hive`."""
    return run(make_app(), sys.argv[1:])


def make_app() -> typer.Typer:
    app = _typer("Run a team of Claude Code agents on this machine.")
    for panel, commands in COMMANDS.items():
        for name, command in commands.items():
            app.command(name, rich_help_panel=panel)(command)
    for group in GROUPS:
        words = _typer(group.summary)
        for name, command in group.commands.items():
            words.command(name)(command)
        app.add_typer(words, name=group.name, rich_help_panel=group.panel)
    return app


def _typer(summary: str) -> typer.Typer:
    return typer.Typer(help=summary, no_args_is_help=True, pretty_exceptions_enable=False)


def run(app: typer.Typer, arguments: list[str]) -> int:
    """Run one command; its exit code. Errors become a sentence on stderr, and with --json an answer on stdout."""
    try:
        return int(app(arguments, standalone_mode=False) or 0)
    except NoDaemonError as error:
        return _fail(arguments, str(error), NO_DAEMON, "no_daemon")
    except FaultError as fault:
        return _fail(arguments, fault.message, REFUSED, fault.kind)
    except (ClientError, CliError) as error:
        return _fail(arguments, str(error), REFUSED, "refused")
    except typer.TyperException as error:
        return _fail(
            arguments, f"{error.format_message()} (add --help to see what there is)", error.exit_code, "usage"
        )
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        _close_quietly()
        return REFUSED
    except Exception as error:
        if TRACEBACK_VARIABLE in os.environ or arguments[:1] == ["serve"]:
            raise
        what = f"this is a mistake of ours: {type(error).__name__}: {error}"
        return _fail(arguments, f"{what} ({TRACEBACK_VARIABLE}=1 shows where)", REFUSED, "internal")


def _fail(arguments: list[str], text: str, code: int, kind: str) -> int:
    if "--json" in arguments:
        put_json(Response(ok=False, error=text, error_kind=kind))
    say(f"hive: {text}")
    return code


def _close_quietly() -> None:
    """Whoever read our output has gone; the interpreter must not complain about it on its way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
