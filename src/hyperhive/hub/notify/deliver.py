"""The program that hands one notification to one target, and ends: `python -m hyperhive.hub.notify.deliver`.

A process of its own: apprise takes a second or two to be loaded, and what it does cannot be bounded in time otherwise.
It reads an Errand from stdin, which no other process can see, and writes an Outcome to stdout. Whatever apprise itself
logs goes nowhere; of its reasons only a status code is kept.
"""

import ipaddress
import logging
import os
import re
import resource
import signal
import sys
from typing import Any, Final

import msgspec
from msgspec import Struct

TIME_S: Final = 30
MAX_MEMORY: Final = 1 << 30
"""Of addresses: an answer without an end ends here."""


class Errand(Struct, frozen=True, kw_only=True):
    url: str
    title: str = ""
    body: str = ""  #: empty: only say whether the URL is one that apprise knows
    loopback_only: bool = False


class Outcome(Struct, frozen=True, kw_only=True):
    error: str = ""  #: in our own words: nothing of the URL, nothing that the target said


class _Reasons(logging.Handler):
    """Keeps the last status code that apprise complains of."""

    code = ""

    def emit(self, record: logging.LogRecord) -> None:
        if found := re.search(r"\berror=([1-5]\d\d)\b", record.getMessage()):
            self.code = found[1]


class _Fence:
    """Lets no connection leave this machine, and asks no resolver."""

    refused = False

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            self._check(args[1])
        elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
            self._check(args)

    def _check(self, address: Any) -> None:
        if not (isinstance(address, tuple) and _is_loopback(address[0])):
            self.refused = True
            raise PermissionError("this hive reaches loopback addresses only")


def _is_loopback(host: object) -> bool:
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        return text == "localhost" or ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


def carry_out(errand: Errand) -> Outcome:
    reasons, fence = _Reasons(), _Fence()
    logging.getLogger("apprise").addHandler(reasons)
    logging.getLogger("apprise").propagate = False
    if errand.loopback_only:
        sys.addaudithook(fence)
    from apprise import Apprise, AppriseAsset, NotifyFormat, PersistentStoreMode

    asset = AppriseAsset(
        app_id="hyperhive", app_desc="hyperhive", app_url="", image_url_mask="", image_url_logo="",
        storage_mode=PersistentStoreMode.MEMORY, http_redirects=False, interpret_escapes=False, interpret_emojis=False,
    )  # fmt: skip
    target = Apprise.instantiate(errand.url, asset=asset, suppress_exceptions=True)
    if target is None:
        return Outcome(error="the URL is none that apprise knows")
    told = Apprise(services=[target], asset=asset)
    if not errand.body or told.notify(title=errand.title, body=errand.body, body_format=NotifyFormat.TEXT):
        return Outcome()
    if fence.refused:
        return Outcome(error="refused: a hive that rehearses reaches only this machine's loopback addresses")
    return Outcome(error=f"the target answered with status {reasons.code}" if reasons.code else "it cannot be reached")


def main() -> None:
    signal.alarm(TIME_S)  # also without a daemon that waits for it
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold the URL
    answer = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    os.dup2(sys.stdout.fileno(), sys.stderr.fileno())
    errand = msgspec.json.decode(sys.stdin.buffer.read(), type=Errand)
    try:
        outcome = carry_out(errand)
    except Exception:  # noqa: BLE001 (the boundary of the program: what it says may hold the URL)
        outcome = Outcome(error="apprise failed in an unexpected way")
    with answer:
        answer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
