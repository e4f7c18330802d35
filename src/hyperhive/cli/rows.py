"""What an event looks like in the operator's terminal. Pure; every text in a row is clean."""

from hyperhive.cli import mail_rows
from hyperhive.cli.row import Row, drawn
from hyperhive.cli.safe import one_line
from hyperhive.protocol.events import HiveEvent
from hyperhive.terminal.rows import rows as shown


def rows(event: HiveEvent) -> list[Row]:
    """The event's rows; none for what only pages need. An unknown kind is shown as it came."""
    try:
        if event.kind.startswith("message_"):
            return mail_rows.rows(event)
        return [row for each in shown(event) for row in drawn(each)]
    except Exception as error:  # noqa: BLE001 - an agent wrote it: one event may not end what shows all of them
        return [Row(text=f"· {one_line(event.kind, 40)} cannot be shown: {type(error).__name__}", style="dim")]
