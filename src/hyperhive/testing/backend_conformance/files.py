"""A container sees the mounts it was given and can make no others."""

import asyncio
import os
from pathlib import PurePosixPath

from hyperhive.containers.keeper import Exit
from hyperhive.containers.spec import Mount
from hyperhive.protocol.faults import FaultKind
from hyperhive.testing.backend_conformance.ground import Ground, hive, output, refusal_of


async def mounts_are_writable_only_when_told(ground: Ground) -> None:
    state, config = await ground.mount("state"), await ground.mount("config", writable=False)
    nested = await ground.mount("claude", inside="/home/agent/.claude")
    read_only = "/config / /usr /etc /dev /home /proc/sys"
    script = (
        "echo a >/state/f && echo a >/home/agent/.claude/f && echo both; "
        f"for d in {read_only}; do echo a 2>&- >$d/f && echo wrote $d; done; echo done"
    )
    _, lines = await output(ground, ground.spec("/bin/sh", "-c", script, mounts=(nested, config, state)))
    assert [line for line in lines if not line.startswith("/bin/sh")] == ["both", "done"], lines
    for mount in (state, nested):
        found = await asyncio.to_thread((mount.source / "f").stat)
        assert found.st_uid == (os.geteuid() if ground.uid is None else ground.uid)


async def a_mount_that_is_missing_is_named(ground: Ground) -> None:
    missing = Mount(source=ground.directory / "not-there", target=PurePosixPath("/x"))
    async with hive(ground) as runtime:
        fault = await refusal_of(runtime, ground.spec("/bin/true", mounts=(missing,)))
        assert fault.kind is FaultKind.BACKEND, fault
        assert "not-there" in fault.message, fault
        assert "is the agent's state there?" in fault.message, fault
        assert runtime.running("probe") is None


async def a_mount_call_is_refused_that_is_younger_than_the_filters_library(ground: Ground) -> None:
    program = (
        "import ctypes; c = ctypes.CDLL(None, use_errno=True); print(c.syscall(467, 0, 0, 0), ctypes.get_errno())"
    )
    _, lines = await output(ground, ground.spec("-c", program))
    assert lines == ["-1 1"], lines  # EPERM


async def a_link_is_a_link_inside_and_shows_nothing_that_lies_beside_it(ground: Ground) -> None:
    await asyncio.to_thread((ground.directory / "beside").touch)
    way = ground.directory / "sh"
    link = Mount(source=way, target=PurePosixPath(way), link="/usr/bin/sh")
    script = f"readlink {way}; ls {ground.directory}"
    status, lines = await output(ground, ground.spec(str(way), "-c", script, mounts=(link,)))
    assert (status, lines) == (Exit(status=0), ["/usr/bin/sh", "sh"]), lines
