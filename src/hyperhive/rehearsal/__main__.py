"""`python -m hyperhive.rehearsal --socket PATH [--port N] [--script NAME|FILE]`: the rehearsal model as a process.

Prints one line of JSON (`{"socket": ..., "port": ...}`) when it can be reached, and serves until SIGTERM or SIGINT.
Exit status 2: it may not or cannot serve; the reason is on stderr.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from hyperhive.rehearsal import scenarios
from hyperhive.rehearsal.credentials import real_credentials, refusal
from hyperhive.rehearsal.script import Script
from hyperhive.rehearsal.script_file import ScriptError
from hyperhive.rehearsal.server import Address, AddressTakenError, serving
from hyperhive.rehearsal.stage import Stage


def main(argv: list[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    if arguments.socket is None and arguments.port is None:
        return _refuse("nowhere to serve: give --socket PATH, --port N, or both")
    if names := real_credentials(os.environ):
        return _refuse(refusal(names))
    try:
        script = scenarios.load(arguments.script) if arguments.script else Script()
        asyncio.run(_serve(script, Address(socket=arguments.socket, port=arguments.port)))
    except (ScriptError, AddressTakenError) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"cannot serve on {arguments.socket}: {error.strerror}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hyperhive.rehearsal", description="The rehearsal model.")
    parser.add_argument("--socket", type=Path, metavar="PATH", help="serve on this unix socket")
    parser.add_argument("--port", type=int, metavar="N", help="serve on this port of 127.0.0.1; 0 takes a free one")
    parser.add_argument("--script", metavar="NAME|FILE", help=f"what to play: {scenarios.names()} or a file")
    return parser


async def _serve(script: Script, address: Address) -> None:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    async with serving(Stage(script), address) as real:
        sys.stdout.write(json.dumps({"socket": str(real.socket or ""), "port": real.port}) + "\n")
        sys.stdout.flush()
        await told_to_stop.wait()


def _refuse(why: str) -> int:
    sys.stderr.write(f"{why}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
