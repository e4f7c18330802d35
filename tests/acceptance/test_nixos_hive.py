"""A whole hive whose agents are containers of NixOS, over the stand-in: the real daemon, real containers, the real
harness and claude in them; the model is scripted, and what stands for NixOS says itself what it does not prove."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

import needs
import nixos_house
from config_house import git
from hyperhive.containers.host import interpreter_mounts
from hyperhive.protocol import host
from hyperhive.protocol.backend import BackendKind
from hyperhive.protocol.faults import FaultError
from hyperhive.rehearsal.script import Call, Say, on
from hyperhive.testing import nixos_standin
from hyperhive.testing.hive_process import PATIENCE_S, HiveProcess, eventually
from hyperhive.testing.model import ScriptedModel
from manager_house import asks, cli, document, events_to, inside, refused
from web_visitor import Visitor

pytestmark = [pytest.mark.claude, pytest.mark.container, pytest.mark.timeout(300)]

SEND = "mcp__hyperhive__send"


@dataclass(kw_only=True)
class NixosHive:
    hive: HiveProcess
    model: ScriptedModel
    root: Path  #: stands for / of the host
    settings: Path  #: the daemon's settings file

    def made_with(self, flake: str, revision: str) -> None:
        """From the next daemon on systems are made with this flake."""
        place = self.settings.with_name(flake)
        place.mkdir(exist_ok=True)
        (place / "revision").write_text(revision)
        self.settings.write_text(json.dumps({"backend": "nixos", "nixos": {"flake": f"path:{place}"}}))

    def jobs(self, name: str) -> list[host.Job]:
        """Of that agent, the newest first."""
        return [*(self.hive.ask(host.Jobs(name=name)).jobs or [])]

    def ended(self, name: str, *, after: int = 0) -> host.Job:
        """The agent's newest job, of those that a daemon queues by itself, once it has ended."""

        def newest() -> host.Job | None:
            own = (job for job in self.jobs(name) if job.source == "startup" and job.id > after)
            return next(own, None)

        eventually(lambda: (job := newest()) is not None and job.state not in ("queued", "running"))
        job = newest()
        assert job is not None
        return job

    @property
    def history(self) -> list[str]:
        """What the flake of all systems says was deployed, newest first."""
        return git(self.hive.paths.state_dir / "meta", "log", "--format=%s").splitlines()

    def uid(self, name: str) -> int:
        return self.hive.paths.agent_state(name).stat().st_uid

    def main(self, name: str) -> int:
        return int(nixos_house.show_now(self.root, f"h-{name}", "MainPID"))


@pytest.fixture
def nixos() -> Iterator[NixosHive]:
    with a_nixos_hive() as made:
        yield made


@pytest.fixture(scope="module")
def pair() -> Iterator[NixosHive]:
    """One for several tests, each of which leaves it with alice and bob at work in systems that are up to date."""
    with a_nixos_hive() as made:
        for name in ("alice", "bob"):
            made.hive.ask(host.Spawn(name=name))
            made.hive.until(name, lambda row: bool(row.active_model))
        yield made


@contextlib.contextmanager
def a_nixos_hive() -> Iterator[NixosHive]:
    nixos_house.needed()
    needs.bwrap()
    claude = needs.claude()
    with tempfile.TemporaryDirectory(prefix="hh-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        root = place / "host"
        environment = {
            "PATH": "/usr/bin:/bin",
            "CLAUDE_CONFIG_DIR": "/home/agent/.claude",
            "HYPERHIVE_SOCKET": "/run/hive/mcp.sock",
            "HYPERHIVE_AGENT_CONFIG": "/run/hive/agent.json",
            "HYPERHIVE_STATE": "/state",
            "HYPERHIVE_CLAUDE": str(claude),
        }
        references = [mount.source for mount in interpreter_mounts(claude.parent)]
        nixos_standin.install(root, references=references, environment=environment)
        settings = place / "settings.json"
        hive = HiveProcess(place)
        hive.dashboard = True
        hive.prefix = ("env", f"HYPERHIVE_NIXOS_ROOT={root}")
        hive.dashboard_arguments = ("--settings", str(settings))
        with ScriptedModel(hive.paths.rehearsal_socket) as model:
            try:
                one = NixosHive(hive=hive, model=model, root=root, settings=settings)
                one.made_with("hyperhive", "1" * 40)
                hive.start()
                yield one
            finally:
                hive.stop_all()
                nixos_standin.end_all(root)
                for log in (hive.log, *(root / "var/log").glob("*.log")):  # shown when the test has failed
                    sys.stderr.write(log.read_text()[-10_000:])


def edited(hive: HiveProcess, name: str, files: dict[str, str]) -> host.Approval:
    """The operator's proposal of a commit with these files; it waits for a decision."""
    repository = hive.paths.agent_config(name)
    for path, text in files.items():
        (repository / path).write_text(text)
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", f"safe.directory={repository}"]
    for words in (["add", "."], ["commit", "-qm", "another config"]):
        subprocess.run(["git", "-C", str(repository), *who, *words], check=True, capture_output=True)
    rows = hive.ask(host.RequestApplyCommit(name=name)).approvals
    assert isinstance(rows, list)
    return rows[0]


def test_an_agent_is_spawned_answers_and_is_changed_rolled_back_destroyed_and_purged(nixos: NixosHive) -> None:
    hive, model, root = nixos.hive, nixos.model, nixos.root
    answer = Call(SEND, {"to": "operator", "body": "{{result}}", "in_reply_to": "{{id:int}}"})
    who = Call("Bash", {"command": "echo $(id -u) $(cat /proc/net/dev | wc -l)"})
    model.script("alice", on("who are you", who, answer, Say("told")), on("", Say("nothing to do")))

    hive.ask(host.Spawn(name="alice"))
    row = hive.until("alice", lambda row: bool(row.active_model))
    assert row.backend == "nixos"
    assert hive.reply(hive.send("alice", "who are you"), timeout_s=90) == f"{nixos.uid('alice')} 3"  # lo alone
    assert 50_000 <= nixos.uid("alice") < 60_000
    assert nixos.history[0].startswith("deploy alice: spawn ")
    first = document(hive, "alice")["deployed_sha"]
    assert f"rev={first}" in (hive.paths.state_dir / "meta/flake.nix").read_text()

    # one that does not build leaves what runs as it is, and is no part of history
    before = nixos.main("alice")
    bad = edited(hive, "alice", {"agent.nix": 'throw "no such package"\n'})
    with pytest.raises(FaultError, match="no such package"):
        hive.ask(host.Approve(id=bad.id))
    assert nixos.main("alice") == before
    assert len(nixos.history) == 1
    assert git(hive.paths.state_dir / "meta", "status", "--porcelain") == ""

    # one that builds goes live, with what nix made of it
    toml = 'model = "opus"\n[limits]\nmemory = "1G"\n'
    good = edited(hive, "alice", {"agent.nix": "{ }\n", "agent.toml": toml})
    hive.ask(host.Approve(id=good.id))
    assert document(hive, "alice")["settings"]["model"] == "opus"
    assert f"deployed/{good.id}" in nixos.history[0]
    assert f"MemoryMax={1 << 30}" in nixos_house.drop_in_of(root, "h-alice")
    (hive.paths.agent_state("alice") / "hyperhive-model").unlink(missing_ok=True)

    hive.ask(host.Rollback(name="alice"))
    assert document(hive, "alice")["deployed_sha"] == first
    assert document(hive, "alice")["settings"]["model"] == "haiku"
    hive.ask(host.Rebuild(name="alice"))
    assert inside(hive, "alice", "id -un\n").strip() == "agent"

    hive.ask(host.Destroy(name="alice"))
    assert not [*(root / "etc/nixos-containers").iterdir()]
    assert nixos.history[0] == "remove alice"
    assert hive.paths.agent_state("alice").is_dir()
    assert "alice" in cli(hive, "tombstones")
    hive.ask(host.Purge(name="alice"))
    assert not hive.paths.agent("alice").exists()
    for call in nixos_standin.calls(root):
        assert not call.startswith(("create", "update")) or f"--flake {hive.paths.state_dir}/meta#alice" in call, call


def test_deaths_are_told_and_a_daemon_that_comes_back_finds_its_agents(nixos: NixosHive) -> None:
    hive = nixos.hive
    hive.ask(host.Spawn(name="bob"))
    hive.until("bob", lambda row: bool(row.active_model))

    os.kill(nixos.main("bob"), signal.SIGKILL)
    hive.until("bob", lambda row: not row.running)
    hive.until("bob", lambda row: bool(row.running and row.active_model))
    assert [event["agent"] for event in events_to(hive, "manager", "container_crash")] in ([], ["bob"])

    before = nixos.main("bob")
    hive.kill()
    hive.start()
    hive.until("bob", lambda row: bool(row.running and row.active_model))
    assert nixos.main("bob") == before
    assert hive.ask(host.Logs(name="bob")).ok

    # a newer hyperhive: behind an approval, and then the agent is made anew
    (hive.paths.state_dir.parent / "hyperhive/revision").write_text("2" * 40)
    found = {row.name: row for row in hive.ask(host.MetaInputs()).meta_inputs or []}
    assert sorted(found) == ["agent-bob", "hyperhive"]
    assert (found["hyperhive"].revision, found["hyperhive"].agents) == ("1" * 12, ["bob"])
    assert "systems" in refused(asks(hive, "bob", "request_update_meta_inputs", mid="m"))
    visitor = Visitor.of(hive).log_in(hive)
    drawn = visitor.get("/").body.decode()
    assert 'value="hyperhive"' in drawn
    assert f'<code title="{found["hyperhive"].url}">{"1" * 12}</code>' in drawn
    assert visitor.post("/inputs/update", "input=hyperhive&description=newer").status == 204
    (asked,) = [row.id for row in hive.ask(host.Pending()).approvals or [] if row.status == "pending"]
    assert "newer revisions of <code>hyperhive</code>" in visitor.get(f"/approvals/{asked}").body.decode()
    assert "newer revisions of hyperhive" in cli(hive, "diff", str(asked))
    assert "all agents" in cli(hive, "pending")
    assert nixos.main("bob") == before
    cli(hive, "approve", str(asked), "--yes")
    eventually(lambda: nixos.main("bob") not in (0, before))
    hive.until("bob", lambda row: bool(row.running and row.active_model))
    assert nixos.history[0] == "update hyperhive"
    assert not hive.status("bob").needs_update

    with pytest.raises(FaultError, match="at most 9"):
        hive.ask(host.Spawn(name="abcdefghij"))
    with pytest.raises(FaultError, match=r"`hive spawn OTHER --backend bubblewrap` makes an agent beside it"):
        hive.ask(host.Move(name="bob", backend=BackendKind.BUBBLEWRAP))


def test_a_daemon_with_another_hyperhive_rebuilds_stale_agents_by_jobs_and_leaves_the_others(pair: NixosHive) -> None:
    hive = pair.hive
    before = {name: pair.main(name) for name in ("alice", "bob")}

    hive.stop()
    pair.made_with("newer", "2" * 40)
    nixos_standin.set_knobs(pair.root, build_fails={"bob": "no such package"})
    hive.start()
    done, failed = (pair.ended(name) for name in ("alice", "bob"))
    assert [(job.kind, job.state) for job in (done, failed)] == [("rebuild", "done"), ("rebuild", "failed")]
    assert "no such package" in str(failed.error)
    assert pair.main("alice") not in (0, before["alice"])
    assert pair.main("bob") == before["bob"]  # it runs on, in the system that it has
    hive.until("bob", lambda row: bool(row.running and row.needs_update))
    assert not hive.status("alice").needs_update
    hive.ask(host.Restart(name="bob"))  # and comes up again in it
    assert pair.main("bob") not in (0, before["bob"])
    assert hive.status("bob").needs_update
    before["bob"] = pair.main("bob")
    assert "no such package" in Visitor.of(hive).log_in(hive).get("/").body.decode()

    nixos_standin.set_knobs(pair.root)
    hive.stop()
    hive.start()
    assert pair.ended("bob", after=failed.id).state == "done"
    assert pair.main("bob") not in (0, before["bob"])
    assert not hive.status("bob").needs_update
    assert pair.jobs("alice")[0].id == done.id


def test_what_nix_made_of_the_settings_is_checked_and_in_effect_as_a_whole(pair: NixosHive) -> None:
    hive = pair.hive

    def change(**settings: object) -> int:
        text = f"{{ hyperhive.settings = builtins.fromJSON ''{json.dumps(settings)}''; }}\n"
        return edited(hive, "alice", {"agent.nix": text}).id

    before = document(hive, "alice")["deployed_sha"]
    for wrong, said in (({"account": "red", "credentials": "hive"}, "account 'red'"), ({"parent": "gone"}, "'gone'")):
        before_it = len(nixos_standin.calls(pair.root))
        with pytest.raises(FaultError, match=rf"agent.json of its system for 'alice':\n.*{said}"):
            hive.ask(host.Approve(id=change(**wrong)))
        assert document(hive, "alice")["deployed_sha"] == before
        hive.until("alice", lambda row: bool(row.running and row.active_model))
        updates = [call for call in nixos_standin.calls(pair.root)[before_it:] if call.startswith("update")]
        assert len(updates) == 1, "what it had is built anew"

    tidy = {"message": "tidy up", "every": 86_400}
    hive.ask(host.Approve(id=change(parent="bob", description="keeps house", schedule={"tidy": tidy})))
    assert [row.name for row in hive.ask(host.Schedules(name="alice")).schedules or []] == ["tidy"]
    assert hive.status("alice").parent == "bob"
    hive.ask(host.Rollback(name="alice"))
    assert hive.ask(host.Schedules(name="alice")).schedules == []


def test_a_build_that_takes_long_holds_nobody_up_and_is_cancelled_with_all_that_it_started(pair: NixosHive) -> None:
    hive, builder = pair.hive, pair.root / "builder"
    before = {name: pair.main(name) for name in ("alice", "bob")}
    deployed = pair.history
    change = edited(hive, "alice", {"agent.nix": "{ }\n"})
    nixos_standin.set_knobs(pair.root, build_hangs=True)
    with ThreadPoolExecutor(1) as pool:
        approved = pool.submit(hive.ask, host.Approve(id=change.id))
        eventually(builder.exists)
        building = os.pidfd_open(int(builder.read_text()))
        try:
            hive.ask(host.Restart(name="bob"))
            assert pair.main("bob") not in (0, before["bob"])
            (job,) = [job for job in pair.jobs("alice") if job.state == "running"]
            assert job.progress == "building its system"
            cli(hive, "job", "cancel", str(job.id))
            assert select.select([building], [], [], PATIENCE_S)[0], "the builder lives on"
        finally:
            os.close(building)
        with pytest.raises(FaultError, match="cancelled by the operator"):
            approved.result(PATIENCE_S)
    assert pair.jobs("alice")[0].state == "cancelled"
    assert pair.main("alice") == before["alice"]
    assert git(hive.paths.state_dir / "meta", "status", "--porcelain") == ""
    assert pair.history == deployed

    # one that is being spawned has come into being, and is built when it is started
    builder.unlink()
    with ThreadPoolExecutor(1) as pool:
        spawned = pool.submit(hive.ask, host.Spawn(name="carol"))
        eventually(builder.exists)
        cli(hive, "job", "cancel", str(pair.jobs("carol")[0].id))
        with pytest.raises(FaultError, match="hive start carol"):
            spawned.result(PATIENCE_S)
    nixos_standin.set_knobs(pair.root)
    hive.ask(host.Start(scope=host.LifecycleScope(agent_names=["carol"])))
    assert pair.main("carol")
