"""`python -m bench [--only NAME]... [--rounds N] [--json | --markdown]`: every bench, one table.

A bench is a module of this package with `measure(rounds, say) -> list[Row]`, listed here.
"""

import argparse
import importlib
import sys
from typing import Final

from bench.harness import Row, as_json, as_markdown, show, steal

BENCHES: Final = ("turns", "spawn", "memory", "events", "mailbox", "dashboard", "images", "containers")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", action="append", choices=BENCHES, help="this bench alone; may be repeated")
    parser.add_argument("--rounds", type=int, default=5, help="of each comparison; its median counts")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the rows as JSON on stdout")
    form.add_argument("--markdown", action="store_true", help="print the table as README.md has it")
    asked = parser.parse_args()
    rows: list[Row] = []
    stolen, ticks = steal()
    for name in asked.only or BENCHES:
        rows += importlib.import_module(f"bench.{name}").measure(asked.rounds, _say)
    stolen_now, ticks_now = steal()
    if asked.json:
        print(as_json(rows))
    elif asked.markdown:
        print(as_markdown(rows))
    else:
        show(rows)
    _say(f"steal: {100 * (stolen_now - stolen) / max(1, ticks_now - ticks):.1f} % of the machine's time")
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
