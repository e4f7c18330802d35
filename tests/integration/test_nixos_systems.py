"""The flake of all agents' systems: locked and evaluated by the real nix, with a hyperhive that is a few lines."""

import asyncio
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import needs
from config_house import git
from hyperhive.hub.systems import NIX_FLAGS, Systems
from hyperhive.process import PLAIN_ENV, CommandFailed, Finished, run
from hyperhive.protocol.faults import FaultError
from hyperhive.repos.applied import Applied
from hyperhive.repos.meta import MetaRepository
from hyperhive.repos.meta_flake import Base, Pin, Pins, inputs, made_of, on_this_host, render

HYPERHIVE = """\
{
  outputs = _: {
    lib.mkAgent = { name, modules, system, allowUnfree, defaults }: {
      inherit name system allowUnfree defaults;
      modules = map (module: if builtins.isFunction module then module { lib.mkForce = x: x; } else module) modules;
    };
  };
}
"""
AGENT = '{ outputs = _: { nixosModules.default = { greeting = "%s"; }; }; }\n'


@dataclass(kw_only=True)
class RealNix:
    """nix with a store of its own, and what this version calls otherwise than those of NixOS since 24.11."""

    home: Path
    failing: list[str] = field(default_factory=list)  #: subcommands

    async def run(
        self, program: str, *arguments: str, timeout: float, check: bool = True, cwd: Path | None = None,
        home: Path | None = None,
    ) -> Finished:  # fmt: skip
        if arguments[0] in self.failing:
            raise CommandFailed([program, *arguments], "ended with status 1", b"error: it does not build")
        words = list(arguments)
        if words[:2] == ["flake", "update"]:
            at = words.index("--flake")
            names = words[4:at]
            words = [
                "flake",
                "lock",
                *words[2:4],
                words[at + 1],
                *(w for name in names for w in ("--update-input", name)),
            ]
        argv = [program, *words, "--store", str(self.home / "store")]
        env = {**PLAIN_ENV, "HOME": str(self.home), "NIX_CONFIG": "sandbox = false\nbuild-users-group =\n"}
        return await run(argv, env=env, timeout=timeout, check=check, cwd=cwd)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    needs.program("nix", "install it (Debian: apt install nix-bin)")
    yield tmp_path
    subprocess.run(["chmod", "-R", "u+w", tmp_path], check=True)


def applied(root: Path, name: str, greeting: str) -> str:
    """A commit of the agent's, without ancestors, as what is pinned is."""
    repository = Applied(root / "applied" / name)
    first = repository.create({"flake.nix": b"{ }", "agent.nix": b"{ }"}, "first")
    return repository.edit(first, {"flake.nix": (AGENT % greeting).encode()}, message="x", author="operator")


def systems(root: Path, wanted: dict[str, Pin]) -> Systems:
    flake = root / "hyperhive"
    flake.mkdir(exist_ok=True)
    (flake / "flake.nix").write_text(HYPERHIVE)
    base = Base(hyperhive=f"path:{flake}", allow_unfree=["claude-code"], defaults={"limits": {"cpu": "50%"}})
    return Systems(
        repository=MetaRepository(root / "meta"), applied=root / "applied", base=base,
        nix=RealNix(home=root / "home"), wanted=wanted.get,
    )  # fmt: skip


async def evaluated(made: Systems, name: str) -> dict[str, object]:
    """The agent's system, as nix has it with the flags that hostile configs are evaluated with."""
    found = await made.nix.run(
        "nix", "eval", "--extra-experimental-features", "nix-command flakes", *NIX_FLAGS, "--json",
        f"{made.repository.path}#nixosConfigurations.{name}", timeout=120,
    )  # fmt: skip
    result: dict[str, object] = json.loads(found.stdout)
    return result


def test_a_deployment_is_prepared_evaluated_and_kept_and_one_that_fails_is_not(root: Path) -> None:
    pins = {
        "alice": Pin(sha=applied(root, "alice", "one"), uid=50_001),
        "bob": Pin(sha=applied(root, "bob", "x"), uid=50_002),
    }
    made = systems(root, pins)

    async def main() -> None:
        first = await made.system("alice")
        assert first.reference == f"{root}/meta#alice"
        assert await evaluated(made, "alice") == {
            "name": "alice",
            "system": "x86_64-linux",
            "allowUnfree": ["claude-code"],
            "defaults": {"limits": {"cpu": "50%"}},
            "modules": [
                {"greeting": "one"},
                {"users": {"users": {"agent": {"uid": 50_001}}, "groups": {"agent": {"gid": 50_001}}}},
            ],
        }
        assert await made.history() == []
        assert await made.settle("alice", "spawn")
        assert not await made.settle("alice", "start")
        await made.system("bob")
        await made.settle("bob", "spawn")
        assert (await made.system("alice")).made_of == first.made_of  # bob has no part in it

        old, pins["alice"] = pins["alice"], Pin(sha=await asyncio.to_thread(applied, root, "alice", "two"), uid=50_001)
        made.nix.failing = ["build"]  # type: ignore[attr-defined]  # the test's own
        with pytest.raises(FaultError, match="it does not build"):
            await made.build("alice")
        assert await asyncio.to_thread(git, root / "meta", "status", "--porcelain") == ""
        pins["alice"] = old
        assert (await made.system("alice")).made_of == first.made_of

        await made.forget("bob")
        assert [entry.message.split(":")[0] for entry in await made.history()] == [
            "remove bob",
            "deploy bob",
            "deploy alice",
        ]

    asyncio.run(main())


@pytest.mark.parametrize("hostile", ["builtins.readFile /etc/passwd", 'builtins.getEnv "HOME" + builtins.currentTime'])
def test_a_config_cannot_read_the_host_while_it_is_evaluated(root: Path, hostile: str) -> None:
    flake = f"{{ outputs = _: {{ nixosModules.default = {{ greeting = {hostile}; }}; }}; }}"
    repository = Applied(root / "applied/eve")
    first = repository.create({"flake.nix": flake.encode()}, "first")
    made = systems(root, {"eve": Pin(sha=first, uid=50_001)})

    async def main() -> None:
        await made.system("eve")
        with pytest.raises(CommandFailed, match=r"pure eval|currentTime"):
            await evaluated(made, "eve")

    asyncio.run(main())


@pytest.mark.parametrize(
    "place",
    [
        'url = "path:SECRET";',
        'url = "p\\ath:SECRET";',
        'url = "SECRET";',
        'type = "path"; path = "SECRET";',
        'url = "git+file://SECRET";',
    ],
)
def test_an_input_of_an_agents_flake_that_lies_on_this_host_is_refused_before_anything_is_evaluated(
    root: Path, place: str
) -> None:
    secret = root / "secret"
    secret.mkdir()
    (secret / "key").write_text("MARKER")
    for words in (("init", "-q"), ("add", "."), ("-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x")):
        git(secret, *words)
    read = 'nixosModules.default = { greeting = builtins.readFile "${inputs.secret}/key"; };'
    flake = f"{{ inputs.secret = {{ {place} flake = false; }}; outputs = inputs: {{ {read} }}; }}"
    repository = Applied(root / "applied/eve")
    first = repository.create({"flake.nix": flake.replace("SECRET", str(secret)).encode()}, "first")
    pins = {"eve": Pin(sha=first, uid=50_001)}
    made = systems(root, pins)

    async def main() -> None:
        with pytest.raises(FaultError, match="lies on this host") as refused:
            await made.system("eve")
        assert str(secret) in refused.value.message
        assert await asyncio.to_thread(git, root / "meta", "status", "--porcelain") == ""

    asyncio.run(main())


def test_inputs_are_listed_and_renewed_and_say_whose_systems_they_change(root: Path) -> None:
    pins = {"alice": Pin(sha=applied(root, "alice", "one"), uid=50_001)}
    made = systems(root, pins)

    async def main() -> None:
        await made.sync(pins)
        before = await made.inputs()
        assert [found.name for found in before] == ["hyperhive", "agent-alice"]
        assert before[1].revision == pins["alice"].sha[:12]
        assert await made.update(["hyperhive"]) == []
        await asyncio.to_thread((root / "hyperhive/flake.nix").write_text, HYPERHIVE + "# newer\n")
        assert made.made["alice"] == (await made.system("alice")).made_of
        assert await made.update(["hyperhive"]) == ["alice"]
        with pytest.raises(FaultError, match="there is no input"):
            await made.update(["nixpkgs"])

    asyncio.run(main())


def test_a_hive_that_was_killed_in_the_middle_begins_with_what_is_deployed(root: Path) -> None:
    pins = {"alice": Pin(sha=applied(root, "alice", "one"), uid=50_001)}

    async def main() -> None:
        await systems(root, pins).sync(pins)
        candidate = {"alice": Pin(sha=await asyncio.to_thread(applied, root, "alice", "two"), uid=50_001)}
        await systems(root, candidate).system("alice")
        assert await asyncio.to_thread(git, root / "meta", "status", "--porcelain") != ""
        again = systems(root, pins)
        await again.sync(pins)
        assert await asyncio.to_thread(git, root / "meta", "status", "--porcelain") == ""
        assert again.made["alice"] == (await again.system("alice")).made_of
        assert len(await again.history()) == 1

    asyncio.run(main())


def test_what_agents_have_of_this_host_is_told_from_what_lies_in_the_store_and_what_the_operator_has() -> None:
    nodes = {
        "root": {"inputs": {"hyperhive": "hyperhive", "agent-eve": "eve"}},
        "hyperhive": {"inputs": {"own": "own"}, "locked": {"type": "path", "path": "/srv/hyperhive"}},
        "own": {"locked": {"type": "path", "path": "/srv/own"}},
        "eve": {
            "inputs": {"a": "far", "b": "stored", "c": "beside"},
            "locked": {"type": "git", "url": "file:///var/lib/hyperhive/applied/eve"},
        },
        "far": {"inputs": {"a": "climbing", "b": "tar"}, "locked": {"type": "github", "owner": "a", "repo": "b"}},
        "stored": {"locked": {"type": "path", "path": "/nix/store/abc-source"}},
        "beside": {"locked": {"type": "path", "path": "./lib"}},
        "climbing": {"locked": {"type": "path", "path": "/nix/store/../../etc"}},
        "tar": {"locked": {"type": "tarball", "url": "FILE:///etc/x.tar"}},
    }
    lock = json.dumps({"nodes": nodes, "root": "root"}).encode()
    assert on_this_host(lock, "eve") == ["/nix/store/../../etc", "FILE:///etc/x.tar"]
    assert on_this_host(lock, "bob") == []


def test_names_and_settings_cannot_leave_their_place_in_the_text() -> None:
    base = Base(hyperhive="path:/x", allow_unfree=['"; evil ${builtins.x}'], defaults={"a": '\\"${x}'})
    text = render(Pins(base=base, agents={"alice": Pin(sha="a" * 40, uid=1)}), "/applied")
    assert "evil ${" not in text.replace("\\${", "")
    for url in ('path:/a"b', "path:/a b", "path:/a${b}"):
        with pytest.raises(FaultError, match="odd characters"):
            render(Pins(base=Base(hyperhive=url)), "/applied")


def test_a_lock_that_is_none_is_refused_and_odd_ones_are_read_as_far_as_they_go() -> None:
    pins = Pins(base=Base(hyperhive="path:/x"))
    for lock in (b"", b"[]", b'{"nodes": {}}', b'{"nodes": {"root": []}, "root": "root"}'):
        with pytest.raises(FaultError, match=r"flake\.lock"):
            made_of(lock, pins, "alice")
    odd = {"root": {"inputs": {"a": ["b"], "b": "b", "c": "gone"}}, "b": {"inputs": {"b": "b"}, "locked": {"rev": 7}}}
    (found,) = inputs(json.dumps({"nodes": odd, "root": "root"}).encode())
    assert (found.name, found.revision, found.last_modified) == ("b", "7", 0)
