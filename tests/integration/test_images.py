"""Images for real: a Debian base, the harness's venv and layers of packages, made in throw-away containers."""

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import base_image
from base_image import base_images as base_images
from hyperhive.containers.cgroups import Limiter, find_limiter
from hyperhive.images import layer, made, tree
from hyperhive.images.generations import Generation
from hyperhive.images.harness import PYTHON
from hyperhive.images.images import Images
from hyperhive.images.workshop import Workshop
from hyperhive.process import PLAIN_ENV, CommandFailed, run
from hyperhive.protocol.faults import FaultError, FaultKind

pytestmark = [pytest.mark.container, pytest.mark.timeout(base_image.TIMEOUT_S)]

ATTACK = """
import json, os, socket, sys
secret, port = sys.argv[1], int(sys.argv[2])
got = []
def attempt(name, what):
    try:
        what()
    except OSError:
        return
    got.append(name)
def connect(address):
    with socket.create_connection(address, timeout=3):
        pass
attempt("the host's file", lambda: open(secret).read())
attempt("the host's file through a process", lambda: open(f"/proc/1/root{secret}").read())
attempt("loopback of the host", lambda: connect(("127.0.0.1", port)))
attempt("the network", lambda: connect(("192.0.2.1", 80)))
attempt("a device of the host", lambda: os.mknod("/device", 0o60600, os.makedev(254, 0)))
attempt("the host's core pattern", lambda: open("/proc/sys/kernel/core_pattern", "r+").close())
attempt("the base itself", lambda: open("/run/debs/marker", "w").close())
got += [name for name in os.environ if "SECRET" in name]
got += ["root of the host"] if open("/proc/self/uid_map").read().split()[1] == "0" else []
got += ["processes of the host"] if len([n for n in os.listdir("/proc") if n.isdecimal()]) > 5 else []
os.mkdir("/marker")
print(json.dumps(got))
"""


class Ground:
    """Images of one hive, over the session's base."""

    def __init__(self, top: Path, limiter: Limiter) -> None:
        self.top = top
        self.images = Images(top, limiter)
        self.workshop = Workshop(limiter=limiter)
        self.said: list[str] = []

    async def say(self, text: str) -> None:
        self.said.append(text)

    async def ensure(self, name: str, *packages: str) -> Generation:
        return await self.images.ensure(name, packages, self.say)

    async def fresh(self) -> Path:
        return await asyncio.to_thread(made.fresh, self.top / "work", "probe")

    async def inside(self, layers: tuple[Path, ...], *argv: str) -> list[str]:
        """What a command says in a throw-away container."""
        work = await self.fresh()
        said: list[str] = []

        async def hear(line: str) -> None:
            said.append(line)

        try:
            await self.workshop.inside(
                argv,
                layers=layers,
                upper=work / "upper",
                work=work,
                shown={},
                env=PLAIN_ENV,
                timeout_s=60,
                say=hear,
            )
        finally:
            await asyncio.to_thread(shutil.rmtree, work)
        return said


Play = Callable[[Callable[[Ground], Awaitable[None]]], None]


@pytest.fixture(scope="module")
def limiter() -> Limiter:
    return find_limiter(f"hive-test-images-{os.getpid()}")


@pytest.fixture(scope="module")
def top(base_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one test has made the next one finds."""
    made_here = base_image.give(base_images, tmp_path_factory.mktemp("images") / "images")
    (made_here / "work").mkdir()
    return made_here


@pytest.fixture
def play(top: Path, limiter: Limiter) -> Play:
    def act(scene: Callable[[Ground], Awaitable[None]]) -> None:
        async def whole() -> None:
            ground = Ground(top, limiter)
            await ground.images.open()
            await scene(ground)

        asyncio.run(whole())
        limiter.release()
        assert list((top / "work").iterdir()) == []

    return act


def test_a_generation_without_packages_has_a_harness_that_runs(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        found = await ground.ensure("a")

        said = await ground.inside(
            found.layers, str(found.python), "-I", "-c", "import sys, hyperhive.harness.worker; print(sys.prefix)"
        )

        assert said == ["/opt/hyperhive"]
        assert found.python == PYTHON
        assert not list(found.layers[-1].rglob("_bundled"))

    play(scene)


def test_packages_are_installed_once_for_all_who_want_the_same(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        first = await ground.ensure("a", "jq")
        again = await ground.ensure("b", "jq")

        assert await ground.inside(first.layers, "jq", "--version")
        assert first.layers == again.layers
        assert [image.apt for image in await ground.images.all() if image.kind == "layer"] == [["jq"]]
        assert {file.stat().st_uid for file in first.layers[1].rglob("*")} == {0}

    play(scene)


def test_two_makings_of_a_layer_are_the_same_to_the_byte(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        place = (await ground.ensure("a", "jq")).layers[1].parent
        before = await asyncio.to_thread(tree.load, place / "files.gz")
        await asyncio.to_thread(made.remove, place)
        await ground.ensure("a", "jq")

        after = await asyncio.to_thread(tree.load, place / "files.gz")
        assert tree.differences(before, after) == []
        assert any("Unpacking jq" in line for line in ground.said)

    play(scene)


def test_going_back_to_fewer_packages_takes_them_away_again(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        without = await ground.ensure("a")
        with_jq = await ground.ensure("a", "jq")
        for generation in (without, with_jq, without):
            await ground.images.switch("a", generation)

        now = await ground.images.current("a")

        assert now == without
        with pytest.raises(CommandFailed):
            await ground.inside(without.layers, "jq", "--version")

    play(scene)


def test_a_package_that_there_is_not_fails_with_apt_s_words_and_leaves_nothing(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        with pytest.raises(FaultError, match="Unable to locate package hyperhive-none") as caught:
            await ground.ensure("nobody", "jq", "hyperhive-none")

        assert caught.value.kind is FaultKind.BACKEND
        assert not [image for image in await ground.images.all() if "hyperhive-none" in image.apt]
        assert await ground.images.current("nobody") is None

    play(scene)


def test_what_a_package_executes_reaches_nothing_of_the_host(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the host")
    monkeypatch.setenv("THE_SECRET", "of the daemon")

    async def scene(ground: Ground) -> None:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        base = (await ground.ensure("a")).layers[:1]

        said = await ground.inside(base, "/usr/bin/python3", "-I", "-c", ATTACK, str(secret), str(port))

        server.close()
        await server.wait_closed()
        assert json.loads(said[-1]) == []
        assert not (base[0] / "marker").exists()

    play(scene)


def test_a_making_that_is_given_up_leaves_no_process_and_no_mount(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        base = (await ground.ensure("a")).layers[:1]
        begun = asyncio.Event()

        async def hear(_: str) -> None:
            begun.set()

        work = await ground.fresh()
        making = asyncio.create_task(
            ground.workshop.inside(
                ("/bin/sh", "-c", "echo begun; exec sleep 4357"), layers=base, upper=work / "upper", work=work,
                shown={}, env=PLAIN_ENV, timeout_s=60, say=hear,
            )
        )  # fmt: skip
        started = asyncio.create_task(begun.wait())
        await asyncio.wait((making, started), return_when=asyncio.FIRST_COMPLETED)
        making.cancel()
        await asyncio.gather(making, started, return_exceptions=True)

        processes = await run(["ps", "-eo", "args"], timeout=10)
        assert "sleep 4357" not in processes.text()
        assert str(work) not in await asyncio.to_thread(Path("/proc/self/mounts").read_text)
        await asyncio.to_thread(shutil.rmtree, work)

    play(scene)


def test_a_start_does_not_wait_for_what_is_being_made_for_others(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        current = await ground.ensure("a")
        await ground.images.switch("a", current)
        begun = asyncio.Event()

        async def hear(_: str) -> None:
            begun.set()
            await asyncio.Event().wait()

        making = asyncio.create_task(ground.images.ensure("b", ["jq"], hear))
        async with asyncio.timeout(base_image.TIMEOUT_S / 2):
            await begun.wait()
            assert await ground.images.usable("a", (), ground.say) == current
        making.cancel()
        await asyncio.gather(making, return_exceptions=True)

    play(scene)


def test_a_changed_file_is_found(play: Play) -> None:
    async def scene(ground: Ground) -> None:
        found = await ground.ensure("a", "jq")
        (found.layers[1] / "usr/bin/jq").write_text("something else")
        (found.layers[1] / "usr/bin/added").touch()

        (checked,) = await ground.images.verify([found.recipe.layer])

        assert checked.differences
        assert [(one.path, one.what) for one in checked.differences] == [
            ("usr/bin/added", "added"), ("usr/bin/jq", "changed"),
        ]  # fmt: skip
        with pytest.raises(FaultError, match="no image"):
            await ground.images.verify(["nothing"])
        await asyncio.to_thread(made.remove, found.layers[1].parent)

    play(scene)


def test_collecting_deletes_what_nothing_goes_back_to_and_keeps_the_rest(
    play: Play, tmp_path: Path, limiter: Limiter
) -> None:
    async def scene(shared: Ground) -> None:
        await shared.ensure("a", "jq")
        ground = Ground(await _own_copies(shared.top, tmp_path), limiter)
        old = await ground.ensure("a", "jq")
        await ground.images.switch("a", old)
        assert await ground.images.collect() == []

        await ground.images.forget("a")
        gone = await ground.images.collect()

        assert [image.id for image in gone] == [old.recipe.layer]
        assert [image.kind for image in await ground.images.all()] == ["base", "harness"]
        assert await ground.ensure("a")

    play(scene)


def test_without_a_base_the_fault_says_how_to_make_one(tmp_path: Path, limiter: Limiter) -> None:
    images = Images(tmp_path / "images", limiter)

    with pytest.raises(FaultError, match="hive image build"):
        asyncio.run(images.ensure("a", ["jq"], Ground(tmp_path, limiter).say))


def test_the_names_of_packages_decide_about_a_layer_and_their_order_does_not() -> None:
    assert layer.id_of("b", ["a", "c"]) == layer.id_of("b", ["c", "a", "c"]) != layer.id_of("d", ["a", "c"])


async def _own_copies(images: Path, top: Path) -> Path:
    """Hard links: what is deleted there stays here. Of harnesses only the newest, as a hive has that began today."""
    for name in ("base", "harness", "layers"):
        await run(["cp", "-al", f"{images / name}/.", str(top / name)], timeout=60)
    (top / "apt").symlink_to((images / "apt").resolve())
    for older in (await asyncio.to_thread(made.all_in, top / "harness"))[:-1]:
        await asyncio.to_thread(made.remove, older.place)
    return top
