"""Config repositories for tests: made with git or byte by byte, and read as the daemon reads them."""

import asyncio
import hashlib
import os
import subprocess
import zlib
from pathlib import Path

import needs
from hyperhive.config.paths import Paths
from hyperhive.hub.config_reader import ConfigReader
from hyperhive.hub.plan import Tooling
from hyperhive.protocol.ids import AgentName
from hyperhive.repos.pinned import Pinned
from hyperhive.testing.backend_conformance import bubblewrap_ground

AGENT = AgentName("coder")
PEOPLE = b"author m <m@x> 1700000000 +0000\ncommitter m <m@x> 1700000000 +0000\n"


def git(directory: Path, *words: str) -> str:
    """What git says, with a config of nobody's."""
    env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
    people = ["-c", "user.name=m", "-c", "user.email=m@x", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *people, *words], cwd=directory, env=env, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Repository:
    """One that an agent could have made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        git(path, "init", "-q")
        self.first = self.commit(**{"agent.toml": "description = 'one'\n"})

    def commit(self, message: str = "m", **files: str) -> str:
        for name, text in files.items():
            (self.path / name).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).write_bytes(text.encode())
        git(self.path, "add", "-A")
        git(self.path, "commit", "-q", "--allow-empty", "-m", message)
        return git(self.path, "rev-parse", "HEAD")

    def raw(self, kind: str, data: bytes) -> str:
        """An object as it is, however wrong."""
        whole = f"{kind} {len(data)}\0".encode() + data
        return self.loose(hashlib.sha1(whole).hexdigest(), zlib.compress(whole, 1))

    def loose(self, sha: str, compressed: bytes) -> str:
        place = self.path / ".git/objects" / sha[:2] / sha[2:]
        place.parent.mkdir(exist_ok=True)
        if not place.exists():
            place.write_bytes(compressed)
        return sha

    def tree(self, *entries: tuple[str, str | bytes, str]) -> str:
        """Of (mode, name, sha), in this order."""
        lines = [
            mode.encode() + b" " + (name.encode() if isinstance(name, str) else name) + b"\0" + bytes.fromhex(sha)
            for mode, name, sha in entries
        ]
        return self.raw("tree", b"".join(lines))

    def commit_of(self, tree: str, message: bytes = b"m") -> str:
        return self.raw("commit", b"tree " + tree.encode() + b"\n" + PEOPLE + b"\n" + message)

    def holding(self, *entries: tuple[str, str | bytes, str]) -> str:
        """A commit whose top directory has these entries."""
        return self.commit_of(self.tree(*entries))


class ConfigHouse:
    """A hive's directories with one proposed repository in them."""

    def __init__(self, directory: Path) -> None:
        needs.bwrap()
        needs.program("git", "install git")
        self.paths = Paths(state_dir=directory / "state", runtime_dir=directory / "run")
        self.config = self.paths.agent_config(AGENT)
        self._directory = directory

    def repository(self) -> Repository:
        return Repository(self.config)

    def read(self, *refs: str) -> Pinned:
        """The last of the refs, read one after the other in containers; raises FaultError."""
        return asyncio.run(self._read(refs))

    async def _read(self, refs: tuple[str, ...]) -> Pinned:
        ground = await bubblewrap_ground(self._directory / "ground", uid=None)
        runtime = await ground.make()
        tooling = await asyncio.to_thread(Tooling.of_this_process, Path("/bin/true"))
        reader = ConfigReader(paths=self.paths, tooling=tooling, keeper=runtime, per_agent_uids=os.geteuid() == 0)
        try:
            return [await reader.read(AGENT, ref) for ref in refs][-1]
        finally:
            await runtime.close()
            await asyncio.to_thread((self._directory / "ground/mounts").rmdir)
