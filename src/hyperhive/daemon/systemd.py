"""Telling the service manager, or whoever started the daemon, how far it is."""

import os
import socket


def notify(state: str) -> None:
    """Send a state such as `READY=1` to NOTIFY_SOCKET; nothing happens when nobody asked."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect("\0" + address[1:] if address.startswith("@") else address)
            sock.send(state.encode())
        except OSError:
            return  # the one who asked has gone; the daemon goes on
