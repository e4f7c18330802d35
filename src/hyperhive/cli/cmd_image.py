"""`hive image`: what containers of the nspawn backend are made from."""

import asyncio
from contextlib import aclosing
from typing import Annotated, Final

import typer

from hyperhive.cli import hive
from hyperhive.cli.ages import age
from hyperhive.cli.carrying_out import carry_out_job
from hyperhive.cli.cmd_tombstones import size
from hyperhive.cli.hive import tell
from hyperhive.cli.options import Json
from hyperhive.cli.output import CliError, put, put_json, put_table, say
from hyperhive.cli.safe import one_line
from hyperhive.client import Client
from hyperhive.protocol import host

_COLUMNS: Final = ("ID", "KIND", "SIZE", "AGE", "USE", "OF")


def build(json: Json = False) -> None:
    """Make the base image from what this machine's Debian sources have today. New deployments and rebuilds use it."""
    answer = carry_out_job(host.BuildImage(), "build_image", doing="making the base image")
    tell(answer, "made the base image; `hive rebuild --all` brings it to the agents", json=json)


def list_images(json: Json = False) -> None:
    """Show the base images, the harness's layers and the layers of packages."""
    found = _ask(host.Images())
    if json:
        put_json(host.Response(images=found))
    elif found:
        put_table(_COLUMNS, [_cells(image) for image in found])
    else:
        say("there are no images; `hive image build` makes the first")


def verify(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="As `hive image list` shows them; without: all.")
    ] = None,
    json: Json = False,
) -> None:
    """Compare every file of the images with what was made."""
    found = _ask(host.VerifyImages(ids=ids or []))
    if json:
        put_json(host.Response(images=found))
    for image in found if not json else []:
        for one in image.differences or []:
            put(f"{image.id}: {one.what}: {one_line(one.path, 300)}")
    if bad := [image.id for image in found if image.differences]:
        raise CliError(f"not as it was made: {', '.join(bad)}")
    if not json:
        say(f"{len(found)} images are as they were made")


def gc(json: Json = False) -> None:
    """Delete images that no agent's generation needs; the newest base stays."""
    gone = _ask(host.CollectImages())
    if json:
        put_json(host.Response(images=gone))
        return
    for image in gone:
        put(f"{image.id}: {image.kind}")
    say(f"deleted {len(gone)} images, {size(sum(image.size for image in gone))}")


def _ask(request: host.AnyRequest) -> list[host.Image]:
    return asyncio.run(_collected(hive.client(), request))


async def _collected(client: Client, request: host.AnyRequest) -> list[host.Image]:
    found: list[host.Image] = []
    async with aclosing(client.stream(request)) as answers:
        async for answer in answers:
            found += answer.images or []
    return found


def _cells(image: host.Image) -> tuple[str, ...]:
    use = "current" if image.current else "in use" if image.in_use else "none"
    of = " ".join(image.apt) or " ".join(filter(None, (image.suite, image.python)))
    return (image.id, image.kind, size(image.size), age(image.made_at), use, one_line(of, 100))
