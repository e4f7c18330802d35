"""What containers of the nspawn backend are made from: how long that takes, and what it costs on the disk.

The base is made once. A layer of one package is made beside a plain `apt-get install` of it in a plain nspawn over the
same base; both have the lists and the package's file at hand, so that no network is in the figures.
"""

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Final

from bench import plain
from bench.harness import Row, Say, Target, missing, row

from hyperhive.containers.cgroups import find_limiter
from hyperhive.images import made
from hyperhive.images.generations import Generations, Recipe
from hyperhive.images.images import Images
from hyperhive.images.places import Places, sync
from hyperhive.process import PATH
from hyperhive.protocol.host import Image

MB: Final = 1 << 20
PACKAGE: Final = "jq"
SMALL: Final = (
    *("bc", "cpio", "diffstat", "ed", "figlet", "file", "jq", "less", "lsof", "patch", "psmisc", "pv", "rename"),
    *("sl", "time", "tree", "unzip", "xxd", "zip", "dc"),
)
"""One for each of twenty agents, so that no two have the same layer."""
SWITCHES: Final = 1000


def measure(rounds: int, say: Say) -> list[Row]:
    lacks = why_not()
    if lacks:
        return [missing("images", lacks)]
    with tempfile.TemporaryDirectory(prefix="hh-", dir=os.environ.get("HYPERHIVE_BENCH_DIR")) as root:
        return asyncio.run(_measure(Path(root) / "images", rounds, say))


def why_not() -> str:
    if os.geteuid() != 0:
        return "images need root"
    missing_tools = [tool for tool in ("mmdebstrap", "systemd-nspawn") if shutil.which(tool, path=PATH) is None]
    return f"install mmdebstrap and systemd-container: no {missing_tools[0]}" if missing_tools else ""


async def _measure(top: Path, rounds: int, say: Say) -> list[Row]:
    limiter = find_limiter(f"hive-bench-{os.getpid()}-images")
    try:
        return await _rows(Images(top, limiter), top, rounds, say)
    finally:
        await asyncio.to_thread(limiter.release)


async def _rows(images: Images, top: Path, rounds: int, say: Say) -> list[Row]:
    say("images: the base")
    built = await _first(images, top)
    rows = [
        row("base image: made", [built.took_seconds], unit="s", note=f"{len(built.packages)} packages"),
        row("base image: size", [built.size / MB], unit="MB", note="on disk, shared by all agents"),
    ]
    rows += await _layers(images, top, rounds, say)
    rows.append(await asyncio.to_thread(_switches, top))
    rows.append(await _disk(images, built, say))
    return rows


async def _first(images: Images, top: Path) -> Image:
    """With HYPERHIVE_TEST_IMAGES one that is there: its own record says how long it took."""
    if kept := os.environ.get("HYPERHIVE_TEST_IMAGES"):
        await asyncio.to_thread(borrow, Path(kept), top)
        return next(image for image in await images.all() if image.current)
    return await images.build(_quiet)


def borrow(kept: Path, top: Path) -> None:
    """The base and the harness's layer of others, beside layers of one's own."""
    top.mkdir(mode=0o700)
    for name in ("base", "harness", "apt"):
        (top / name).symlink_to(kept / name)


async def _quiet(_: str) -> None: ...


async def _layers(images: Images, top: Path, rounds: int, say: Say) -> list[Row]:
    found = await images.ensure("a", [PACKAGE], _quiet)  # fetches what both need
    await asyncio.to_thread(_plain_install, found.layers[0], top)  # makes apt's cache of the lists, which ours has
    ours, theirs = [], []
    for number in range(rounds):
        say(f"images: layers, round {number + 1} of {rounds}")
        theirs.append(await asyncio.to_thread(_plain_install, found.layers[0], top))
        await asyncio.to_thread(made.remove, found.layers[1].parent)
        began = time.monotonic()
        found = await images.ensure("a", [PACKAGE], _quiet)
        ours.append(time.monotonic() - began)
    return [
        row(
            f"layer of {PACKAGE}", ours, unit="s", spec=".2f", against="apt-get install in a plain nspawn, same base",
            ratios=[a / b for a, b in zip(ours, theirs, strict=True)], target=Target(at_most=1.5),
        ),
        row(f"plain apt-get install {PACKAGE}", theirs, unit="s", spec=".2f"),
    ]  # fmt: skip


def _plain_install(base: Path, top: Path) -> float:
    """From before the overlay until it is taken away again."""
    apt = (top / "apt").resolve()
    lists, cache = top / "plain-lists", top / "plain-cache"
    if not lists.exists():
        shutil.copytree(apt / "lists", lists)
        shutil.copytree(apt / "cache/archives", cache / "archives")
    with tempfile.TemporaryDirectory(dir=top) as place:
        began = time.monotonic()
        with plain.merged([base], Path(place) / "merged") as root, plain.caged("hive-bench-plain") as cage:
            process = plain.begin(
                root, "hive-bench-plain", cage,
                f"--bind={lists}:/var/lib/apt/lists", f"--bind={cache}:/var/cache/apt",
                f"--bind-ro={apt}/sources.list.d/hive.sources:/etc/apt/sources.list.d/hive.sources",
                "--setenv=DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Options::=--force-unsafe-io",
                "install", "-y", "--no-install-recommends", "--no-download", PACKAGE,
            )  # fmt: skip
            said, _ = process.communicate(timeout=300)
            if process.returncode:
                raise RuntimeError(f"the plain installation failed: {said.decode(errors='replace')[-500:]}")
        return time.monotonic() - began


def _switches(top: Path) -> Row:
    """With a reader that looks all the time and must always find one of the two."""
    places = Places(top=top)
    generations = Generations(places, "switcher")
    known = [generations.of(Recipe(base="a", harness="h")), generations.of(Recipe(base="b", harness="h"))]
    generations.switch(1)
    wrong, reads, over = [0], [0], threading.Event()

    def read() -> None:
        reader = Generations(places, "switcher")
        while not over.is_set():
            wrong[0] += reader.current() not in known
            reads[0] += 1

    watching = threading.Thread(target=read)
    took, settled, bare = [], [], []
    for number in range(SWITCHES):
        if number == SWITCHES // 2:  # the second half under a reader, the first one alone and timed
            watching.start()
        began = time.monotonic()
        generations.switch(1 + number % 2)
        took.append(time.monotonic() - began)
        generations.settle()
        settled.append(time.monotonic() - began)
        began = time.monotonic()
        (top / "agents/switcher/other").symlink_to("nothing")
        (top / "agents/switcher/other").replace(top / "agents/switcher/another")
        sync(top / "agents/switcher")
        bare.append(time.monotonic() - began)
    over.set()
    watching.join()
    median, durable, least = (statistics.median(figures[: SWITCHES // 2]) * 1000 for figures in (took, settled, bare))
    shutil.rmtree(top / "agents/switcher")
    return row(
        "switch to another generation", [median], unit="ms", spec=".3f", against="1 ms", ratios=[median],
        target=Target(at_most=1),
        note=f"{durable:.3f} ms until no loss of power undoes it; a bare symlink, rename and fsync: {least:.3f} ms; "
        f"{reads[0]:,} reads during {SWITCHES // 2} more, {wrong[0]} half-done",
    )  # fmt: skip


async def _disk(images: Images, built: Image, say: Say) -> Row:
    say("images: twenty agents")
    found = [await images.ensure(f"agent-{number}", [name], _quiet) for number, name in enumerate(SMALL)]
    parts = {part for generation in found for part in generation.layers}
    size = await asyncio.to_thread(_size, parts)
    return row(
        "20 agents' disk, a package of its own for each", [size / MB], unit="MB", against="the base",
        ratios=[size / built.size], target=Target(at_most=2), note=f"{len(parts)} trees, the harness's among them",
    )  # fmt: skip


def _size(parts: set[Path]) -> int:
    said = subprocess.run(
        ["du", "-scB1", *(str(part.resolve()) for part in parts)], env=plain.ENV, capture_output=True, check=True
    )
    return int(said.stdout.splitlines()[-1].split()[0])
