"""The files that pages are made with, read and packed once: a path that is not among them leads nowhere."""

import functools
import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_FOLDER: Final = Path(__file__).parent / "static"
_A_YEAR: Final = 365 * 86400


@dataclass(frozen=True, kw_only=True)
class Asset:
    body: bytes
    packed: bytes  #: by gzip; empty when that does not make it smaller
    type: str
    version: str  #: another one for another content


@functools.cache
def assets() -> dict[str, Asset]:
    """By their paths below the folder. Reads the disk the first time."""
    files = sorted(path for path in _FOLDER.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(_FOLDER).as_posix(): _asset(path) for path in files}


def url(name: str) -> str:
    """The address of one, which a browser may keep for good; of a file that is not there, one that is not found."""
    asset = assets().get(name)
    return f"/static/{quote(name)}?v={asset.version if asset else 0}"


async def static(request: Request) -> Response:
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return PlainTextResponse("there is no such file\n", 404)
    packed = bool(asset.packed) and "gzip" in request.headers.get("accept-encoding", "")
    etag = f'"{asset.version}{"-gzip" if packed else ""}"'
    kept = _A_YEAR if request.query_params.get("v") == asset.version else 0
    caching = f"public, max-age={kept}, {'immutable' if kept else 'must-revalidate'}"
    headers = {"ETag": etag, "Cache-Control": caching, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return Response(asset.packed if packed else asset.body, media_type=asset.type, headers=headers)


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    packed = gzip.compress(body, mtime=0)
    guessed, _ = mimetypes.guess_type(path.name)
    known = {".js": "text/javascript", ".svg": "image/svg+xml"}.get(path.suffix)
    return Asset(
        body=body,
        packed=packed if len(packed) < len(body) else b"",
        type=known or guessed or "application/octet-stream",
        version=hashlib.sha256(body).hexdigest()[:16],
    )
