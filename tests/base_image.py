"""The base image and the harness's layer, made once for all tests that want containers of nspawn's.

HYPERHIVE_TEST_IMAGES keeps them over sessions: a directory of root's, on the file system that tests use.
`python tests/base_image.py DIR` makes them there.
"""

import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import needs
from hyperhive.containers.cgroups import RlimitsOnly
from hyperhive.images.images import Images
from hyperhive.testing.hive_process import running_hive
from manager_house import cli

OF_GUEST = Path("/var/lib/test-images")
"""Where scripts/vm-test puts them, for want of a network to make them with."""
TIMEOUT_S = 900
"""For the first test of a session that uses it: `pytestmark = pytest.mark.timeout(base_image.TIMEOUT_S)`."""


@pytest.fixture(scope="session")
def base_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of images with a base and a harness's layer in it. Share it with `give`, do not change it."""
    needs.root()
    needs.program("mmdebstrap", "install it (Debian: apt install mmdebstrap)")
    needs.program("systemd-nspawn", "install it (Debian: apt install systemd-container)")
    top = _place(tmp_path_factory)
    with _alone(top):
        asyncio.run(_complete(top))
    return top


def give(images: Path, top: Path) -> Path:
    """Lets a hive whose images are to be in `top` use these; its layers and generations are its own."""
    top.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("base", "harness", "apt"):
        (top / name).symlink_to(images / name)
    return top


async def _complete(top: Path) -> None:
    images = Images(top, RlimitsOnly())
    await images.open()
    if not any(image.current for image in await images.all()):
        await asyncio.to_thread(_built_by_command, top)
        await images.open()
    await images.ensure("nobody", [], _say)  # the harness may be newer than the base


def _built_by_command(top: Path) -> None:
    """As an operator makes it."""
    with running_hive(furnish=lambda hive: hive.paths.images.symlink_to(top)) as (hive, _):
        said = cli(hive, "image", "build", timeout_s=TIMEOUT_S)
    assert "made the base image" in said, said


async def _say(_: str) -> None: ...


def _place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if kept := os.environ.get("HYPERHIVE_TEST_IMAGES"):
        return Path(kept)
    if OF_GUEST.is_dir():
        return OF_GUEST
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "images"


@contextlib.contextmanager
def _alone(top: Path) -> Iterator[None]:
    """One process of the session makes it, the others wait."""
    top.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (top / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    place = Path(sys.argv[1])
    with _alone(place):
        asyncio.run(_complete(place))
