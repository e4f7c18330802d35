"""`hive receipt`: what became of a message."""

from datetime import datetime
from typing import Annotated

import typer

from hyperhive.cli.hive import ask
from hyperhive.cli.options import Json
from hyperhive.cli.output import CliError, put, put_json
from hyperhive.protocol import host
from hyperhive.protocol.agent import Receipt


def run(
    message: Annotated[int, typer.Argument(metavar="ID", help="As `hive send` printed it.")], json: Json = False
) -> None:
    """Show how far a message got."""
    answer = ask(host.ReceiptFor(id=message))
    if json:
        put_json(answer)
    elif not answer.receipt:
        raise CliError(f"the hive knows nothing of message {message}")
    else:
        put(sentence(answer.receipt))


def sentence(receipt: Receipt) -> str:
    parts = [f"message {receipt.id} to {receipt.to}: {receipt.state}", f"sent {_clock(receipt.sent_at)}"]
    if receipt.read_at is not None:
        parts.append(f"read {_clock(receipt.read_at)}")
    if receipt.handled_at is not None:
        parts.append(f"handled {_clock(receipt.handled_at)}")
    if receipt.attempt > 1:
        parts.append(f"attempt {receipt.attempt}")
    return ", ".join(parts) + (f" ({receipt.note})" if receipt.note else "")


def _clock(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s).astimezone().isoformat(sep=" ", timespec="seconds")
