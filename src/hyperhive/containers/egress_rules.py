"""Which host and port an agent may reach: pure decisions of the egress proxy."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hyperhive.protocol.faults import FaultError, FaultKind

CLAUDE_HOSTS: Final = ("api.anthropic.com", "platform.claude.com")
"""What claude needs: its model and its login."""

_HOST = re.compile(r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_MAX_HOST: Final = 253
_TARGET = re.compile(
    r"(\[[0-9a-fA-F:.%]{2,64}\]|[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?)"
    r":(?P<port>[0-9]{1,5})",
    re.ASCII | re.IGNORECASE,
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_PUBLIC: Final = tuple(map(ipaddress.ip_network, ("fec0::/10", "168.63.129.16/32")))
"""Site-local ones, and the address of Azure's own services."""


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """One entry of a list: a host name, or `*.` and the end of one; and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Allowed":
        """Out of `host` (port 443) or `host:port`; raises FaultError (`bad_config`)."""
        host, _, port = text.strip().lower().partition(":")
        number = int(port) if re.fullmatch(r"[0-9]{1,5}", port or "443") and port else 443
        if not _HOST.fullmatch(host) or len(host) > _MAX_HOST or not 0 < number < 65536 or text.endswith(":"):
            raise FaultError(
                FaultKind.BAD_CONFIG,
                f"cannot allow {text[:80]!r}: write a host name such as example.org, *.example.org or a.example:8443; "
                "addresses are not possible",
            )
        return cls(host=host, port=number)

    def covers(self, host: str, port: int) -> bool:
        if port != self.port:
            return False
        return host.endswith(self.host[1:]) if self.host.startswith("*.") else host == self.host


def parse_target(target: str) -> tuple[str, int] | None:
    """Host and port out of what follows CONNECT; None when it is not of that form."""
    match = _TARGET.fullmatch(target)
    if not match or len(match[1]) > _MAX_HOST or not 0 < int(match["port"]) < 65536:
        return None
    return match[1].strip("[]").lower().rstrip("."), int(match["port"])


def refusal(host: str, port: int, allowed: Iterable[Allowed]) -> str:
    """Why this may not be reached; empty: it may, if its addresses are public."""
    if _is_address(host):
        return "addresses are never allowed, only names"
    if not any(entry.covers(host, port) for entry in allowed):
        return "not on the agent's list"
    return ""


def is_public(address: str) -> bool:
    """Whether the address is of the internet; private and reserved ranges are not. It may still be the host's own."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped or parsed in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)))
        if parsed.sixtofour or parsed.teredo:
            return False  # tunnels, to wherever the IPv4 address inside says
    if any(parsed in network for network in _NOT_PUBLIC):
        return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


def _is_address(host: str) -> bool:
    """Also for the forms that only the C library takes for an address: 127.1, 0x7f000001, 2130706433."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return bool(re.fullmatch(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}", host))
    return True
