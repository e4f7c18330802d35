"""Where the dashboard listens and by which names browsers may call it."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from hyperhive.protocol.faults import FaultError, FaultKind

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 7000
LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """Checked when made: raises FaultError (`bad_config`) that says what to give instead.

    `public_url` is how browsers reach it by another name, such as `https://hive.example.org` of a reverse proxy.
    """

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT  #: 0: a free one
    tls_cert: Path | None = None
    tls_key: Path | None = None
    public_url: str = ""

    def __post_init__(self) -> None:
        _check_address(self)
        if (self.tls_cert is None) != (self.tls_key is None):
            raise _refused("give both --tls-cert and --tls-key, or neither")
        if not self.is_loopback and not self.tls:
            raise _refused(
                f"{self.host} can be reached from other machines, and without TLS whoever listens there reads your "
                "session; give --tls-cert and --tls-key, or stay on 127.0.0.1 and use a reverse proxy or `ssh -L`"
            )
        if self.public_url and not re.fullmatch(
            r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?", self.public_url
        ):
            raise _refused("--dashboard-url is the address in the browser without a path, as https://hive.example.org")
        if self.public_url and self._public_scheme == "http" and self.public_name not in LOOPBACK_NAMES:
            raise _refused("--dashboard-url begins with https: a session must not cross a network in the clear")
        if ipaddress.ip_address(self.host).is_unspecified and not self.public_url:
            raise _refused(f"{self.host} is no address for a browser; give --dashboard-url, as https://hive.lan:7000")

    @classmethod
    def from_arg(
        cls, address: str, *, tls_cert: Path | None = None, tls_key: Path | None = None, public_url: str = ""
    ) -> "WebSettings":
        """From HOST:PORT; an IPv6 address stands in brackets. Raises FaultError (`bad_config`)."""
        host, colon, port = address.rpartition(":")
        if not colon or not re.fullmatch(r"\d{1,5}", port, re.ASCII):
            raise _refused(f"{address!r} is not HOST:PORT, such as {DEFAULT_HOST}:{DEFAULT_PORT}")
        return cls(
            host=host.removeprefix("[").removesuffix("]") if host != "localhost" else DEFAULT_HOST,
            port=int(port), tls_cert=tls_cert, tls_key=tls_key, public_url=public_url.rstrip("/"),
        )  # fmt: skip

    @property
    def tls(self) -> bool:
        return self.tls_cert is not None

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def public_name(self) -> str:
        return (urlsplit(self.public_url).hostname or "") if self.public_url else ""

    @property
    def names(self) -> frozenset[str]:
        """The hosts that a request may be for, without port."""
        return LOOPBACK_NAMES | {self.host} | ({self.public_name} if self.public_url else set())

    def is_secure(self, name: str) -> bool:
        """Whether a browser that calls the dashboard by this name does so over TLS."""
        return self.tls or (name == self.public_name and self._public_scheme == "https")

    def url(self, port: int) -> str:
        """Where the operator's browser finds it, when it listens on that port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"{'https' if self.tls else 'http'}://{host}:{port}"

    @property
    def _public_scheme(self) -> str:
        return urlsplit(self.public_url).scheme


def _check_address(settings: WebSettings) -> None:
    try:
        ipaddress.ip_address(settings.host)
    except ValueError:
        raise _refused(f"{settings.host!r} is not an IP address; give one, such as {DEFAULT_HOST}") from None
    if not 0 <= settings.port <= 65535:
        raise _refused(f"there is no port {settings.port}")


def _refused(reason: str) -> FaultError:
    return FaultError(FaultKind.BAD_CONFIG, f"cannot open the dashboard: {reason}")
