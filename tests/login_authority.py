"""Whoever renews claude's logins, behind a proxy of the test's own: says what a test wants, and counts who asks."""

import asyncio
import contextlib
import json
import ssl
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import needs


@dataclass
class Authority:
    port: int
    certificate: Path
    status: int
    answer: dict[str, Any]
    asked: list[str] = field(default_factory=list)  #: the first lines of requests

    @property
    def env(self) -> dict[str, str]:
        """For a claude that is to believe in it."""
        proxy = f"http://127.0.0.1:{self.port}"
        return {
            "HTTPS_PROXY": proxy, "https_proxy": proxy, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
            "NODE_EXTRA_CA_CERTS": str(self.certificate),
        }  # fmt: skip

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            await reader.readuntil(b"\r\n\r\n")  # CONNECT
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await writer.start_tls(self._context())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.asked.append(head.splitlines()[0])
            body = json.dumps(self.answer)
            said = f"HTTP/1.1 {self.status} X\r\ncontent-type: application/json\r\nconnection: close\r\n"
            writer.write(f"{said}content-length: {len(body)}\r\n\r\n{body}".encode())
            await writer.drain()
        writer.close()

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.certificate.with_name("key.pem"))
        return context


@contextlib.asynccontextmanager
async def authority(folder: Path, status: int, answer: dict[str, Any]) -> AsyncIterator[Authority]:
    needs.program("openssl", "apt-get install openssl")
    certificate = folder / "cert.pem"
    names = ",".join(f"DNS:{name}" for name in ("platform.claude.com", "console.anthropic.com", "api.anthropic.com"))
    await asyncio.to_thread(
        subprocess.run,
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=login", "-addext",
         f"subjectAltName={names}", "-keyout", str(folder / "key.pem"), "-out", str(certificate)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    one = Authority(0, certificate, status, answer)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    async with server:
        yield one
