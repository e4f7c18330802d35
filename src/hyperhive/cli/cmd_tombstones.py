"""`hive tombstones`: destroyed agents whose state was kept."""

from hyperhive.cli.ages import age
from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json
from hyperhive.cli.output import put_json, put_table, say
from hyperhive.protocol import host


def run(json: Json = False) -> None:
    """Show destroyed agents whose state was kept."""
    answer = ask(host.Tombstones())
    if json:
        put_json(answer)
    elif not answer.tombstones:
        say("no kept state")
    else:
        put_table(("NAME", "SIZE", "AGE", "LOGIN"), [_cells(stone) for stone in answer.tombstones])
        say("`hive revive NAME` brings one back, `hive purge NAME` deletes it for good")


def _cells(stone: host.Tombstone) -> tuple[str, ...]:
    return (stone.name, size(stone.size_bytes), age(stone.last_modified), "kept" if stone.has_credentials else "none")


def size(count: int) -> str:
    """Bytes as people read them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
