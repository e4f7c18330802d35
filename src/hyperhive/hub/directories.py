"""An agent's directories on the host: made, found again, taken away."""

import asyncio
import contextlib
import os
import stat
import uuid
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from hyperhive.config import trees
from hyperhive.config.paths import Paths, is_present
from hyperhive.containers.nspawn import UIDS
from hyperhive.containers.spec import INSIDE_UID
from hyperhive.process import CommandFailed, run
from hyperhive.protocol.faults import FaultError, FaultKind
from hyperhive.protocol.host import Tombstone
from hyperhive.protocol.ids import MANAGER, AgentName, known_form
from hyperhive.protocol.settings import AgentDocument

FIRST_UID: Final = 0x20000000
LAST_UID: Final = 0x6FFFFFFF
"""Of a root daemon's agents: each has 65536 of its own, what it writes is owned by the one that the agent has inside
added to the first; clear of people and services."""
FORMER_UIDS: Final = range(400_000, 465_536)
"""Those of agents from before there were containers with users of their own: one each, good for bubblewrap alone."""

SAME_UIDS: Final = range(50_000, 60_000)
"""Of agents whose containers have no numbers of their own, or the same ones inside: those fit into 16 bits, and NixOS
gives them to nobody."""
GIVE_S: Final = 600.0

log = structlog.get_logger(__name__)


def make_hive(paths: Paths) -> None:
    """The hive's own trees; raises FaultError (`storage`) that names the directory which cannot be written."""
    try:
        for directory, mode in (
            (paths.state_dir, 0o700),
            (paths.state_dir / "agents", 0o700),
            (paths.state_dir / "applied", 0o755),
            (paths.state_dir / "staging", 0o700),
            (paths.proposed, 0o755),
            (paths.shared, 0o1777),
            (paths.runtime_dir, 0o751),
            (paths.runtime_dir / "agents", 0o711),
        ):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(mode)
    except OSError as error:
        raise FaultError(
            FaultKind.STORAGE,
            f"cannot write {error.filename}: {error.strerror}; make it writable for this user, or set "
            "HYPERHIVE_STATE_DIR and HYPERHIVE_RUNTIME_DIR to directories that are",
        ) from None


def make(paths: Paths, name: AgentName, uid: int | None) -> None:
    """The agent's directories; those that exist are kept, with what is in them. `uid` owns what the agent writes."""
    try:
        paths.agent(name).mkdir(exist_ok=True, mode=0o700)
        paths.applied(name).mkdir(exist_ok=True)
        for directory in (paths.agent_state(name), paths.agent_claude(name)):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            _own(directory, uid, 0o700)
    except OSError as error:
        raise FaultError(
            FaultKind.STORAGE, f"cannot make {error.filename} for {name}: {error.strerror}; nothing was changed"
        ) from None


def make_runtime(paths: Paths, name: AgentName, uid: int | None, document: AgentDocument) -> None:
    """The directory that the container sees as /run/hive, with its agent.json. Only the agent's uid may enter."""
    directory = paths.agent_runtime(name)
    directory.mkdir(parents=True, exist_ok=True)
    if uid is not None:
        os.chown(directory, 0, uid)
    directory.chmod(0o700 if uid is None else 0o750)
    temporary = directory / ".agent.json"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(document)))
    if uid is not None:
        os.chown(temporary, 0, uid)
    temporary.chmod(0o640)
    temporary.replace(directory / "agent.json")


def remove_runtime(paths: Paths, name: AgentName) -> None:
    """Harmless when it is gone."""
    trees.remove(paths.agent_runtime(name))


def purge(paths: Paths, name: AgentName) -> None:
    """Config, applied config, credentials and state: all of it, for good."""
    places = (paths.agent(name), paths.applied(name), paths.proposed / name)
    moved = [paths.state_dir / "staging" / f"removing-{uuid.uuid4().hex}" for _ in places]
    for place, away in zip(places, moved, strict=True):  # first: where the manager writes, no tree can be removed
        with contextlib.suppress(FileNotFoundError):
            place.rename(away)
    for away in moved:
        with contextlib.suppress(FileNotFoundError):
            _discard(away)


def sweep(paths: Paths) -> None:
    """Remove what a killed daemon left half made or half removed. Nobody may be making anything meanwhile."""
    for place in (paths.state_dir / "staging", paths.state_dir / "reading"):
        with contextlib.suppress(FileNotFoundError):
            for entry in place.iterdir():
                _swept(entry)


def _swept(entry: Path) -> None:
    """A left-over that stays is no reason for a hive not to start."""
    try:
        _discard(entry)
    except OSError as error:
        log.error("cannot remove what is left over", path=str(entry), error=str(error))


def _discard(path: Path) -> None:
    """Whatever it is: in a user's hive the manager may have put a link or a file in a directory's place."""
    if path.is_dir() and not path.is_symlink():
        trees.remove(path)
    else:
        path.unlink()


def give_proposed(paths: Paths, uid: int) -> None:
    """All proposed repositories belong to this uid, the manager's; links are not followed."""
    for name in os.listdir(paths.proposed):  # noqa: PTH208 (names, not paths)
        for _, directories, files, here in os.fwalk(paths.proposed / name / "config", follow_symlinks=False):
            os.fchown(here, uid, uid)
            for entry in (*directories, *files):
                os.chown(entry, uid, uid, dir_fd=here, follow_symlinks=False)


async def give(paths: Paths, name: AgentName, uid: int) -> None:
    """What the agent's former uid owns of its state and its login belongs to this one; links are not followed.

    Its container must not run. Nothing to do costs a look; a hive that was killed in the middle of it does the rest at
    the next call, because the state's own directory goes last. Raises FaultError (`storage`).
    """
    state = paths.agent_state(name)
    before = (await asyncio.to_thread(state.lstat)).st_uid
    if before == uid:
        return
    if name == MANAGER:
        await asyncio.to_thread(give_proposed, paths, uid)
    for top in (paths.agent_claude(name), state):  # by a program, which does not mind how deep an agent's trees are
        argv = ["chown", "--recursive", "-P", "--no-dereference", f"--from={before}", f"{uid}:{uid}", "--", str(top)]
        try:
            await run(argv, timeout=GIVE_S)
        except CommandFailed as error:
            raise FaultError(FaultKind.STORAGE, f"cannot give {top} to uid {uid}: {error}") from error


def has_repository(paths: Paths, name: AgentName) -> bool:
    """Whether anything is where the agent's proposed repository would be."""
    return is_present(paths.agent_config(name))


def has_kept_state(paths: Paths, name: AgentName) -> bool:
    """Whether the agent's own directory has a state in it; a link in either's place is nobody's."""
    own = paths.agent(name), paths.agent_state(name)
    return all(path.is_dir() and not path.is_symlink() for path in own)


def choose_uid(paths: Paths, name: AgentName, living: Collection[int], *, same_inside: bool = False) -> int:
    """The uid that owns the name's kept state, else one that no agent has, neither living nor kept."""
    kept = _kept_uids(paths)
    own, taken = kept.get(name, 0), {*living, *kept.values()}
    if same_inside:
        return own if own in SAME_UIDS else next(uid for uid in SAME_UIDS if uid not in taken)
    return own if FIRST_UID <= own <= LAST_UID or own in FORMER_UIDS else _unused_uid(taken)


def new_uid(paths: Paths, living: Collection[int]) -> int:
    """One for containers with users of their own, which no agent has, neither living nor kept."""
    return _unused_uid({*living, *_kept_uids(paths).values()})


def _kept_uids(paths: Paths) -> dict[AgentName, int]:
    return {name: _agents_own(paths.agent_state(name)) for name in _kept(paths) if has_kept_state(paths, name)}


def _agents_own(state: Path) -> int:
    """The uid of whose it is: root inside may have given the directory to another one of the container's."""
    uid = state.lstat().st_uid
    return uid - (uid - FIRST_UID) % UIDS + INSIDE_UID if FIRST_UID <= uid <= LAST_UID else uid


def _unused_uid(taken: Collection[int]) -> int:
    return next(uid for uid in range(FIRST_UID + INSIDE_UID, LAST_UID, UIDS) if uid not in taken)


def tombstones(paths: Paths, living: frozenset[str]) -> list[Tombstone]:
    """Agents that have state and no life."""
    return [_tombstone(paths, name) for name in _kept(paths) if name not in living]


def _kept(paths: Paths) -> Iterator[AgentName]:
    for entry in sorted((paths.state_dir / "agents").iterdir()):
        try:
            name = known_form(entry.name)
        except FaultError:
            continue
        if entry.is_dir() and not entry.is_symlink():
            yield name


def _tombstone(paths: Paths, name: AgentName) -> Tombstone:
    size, modified = trees.measure(paths.agent(name))
    return Tombstone(
        name=name,
        size_bytes=size,
        last_modified=datetime.fromtimestamp(modified, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        has_credentials=has_credentials(paths, name),
    )


def has_credentials(paths: Paths, name: AgentName) -> bool:
    """Whether claude has logged in in the agent's containers; whether it still may is not known from that."""
    return _is_file(paths.agent_claude(name) / ".credentials.json")


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _own(path: Path, uid: int | None, mode: int) -> None:
    if uid is not None:
        os.chown(path, uid, uid)
    path.chmod(mode)
