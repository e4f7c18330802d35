"""A token that is revoked while something is done for it."""

import asyncio
import tempfile
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from hyperhive.config.paths import Paths
from hyperhive.daemon.assembly import hive_at
from hyperhive.web.app import create_app
from hyperhive.web.bearer import AT_ONCE, behind_token
from hyperhive.web.route import Access
from hyperhive.web.security import RefusedError
from hyperhive.web.settings import WebSettings

PATIENCE_S = 30.0


@pytest.mark.parametrize(("method", "whole"), [("POST", True), ("DELETE", True), ("GET", False)])
def test_what_a_revoked_token_has_begun_to_change_is_done_to_its_end_and_looking_is_not(
    method: str, whole: bool
) -> None:
    async def scene() -> None:
        begun, go, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
        steps = [{"type": "http.request", "body": b""}]
        done: list[str] = []

        async def handler(_: Request) -> Response:
            begun.set()
            try:
                await go.wait()
                done.append("the second half")
            finally:
                ended.set()
            return Response()

        async def receive() -> Message:
            return steps.pop() if steps else await asyncio.Future()

        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
            async with asyncio.timeout(PATIENCE_S), hive_at(paths, rehearsal=None) as hive:
                token, row = await hive.tokens.create("scripts", "operate", None)
                app = create_app(hive, hive.doors, WebSettings())
                headers = [(b"authorization", f"Bearer {token}".encode())]
                scope = {"type": "http", "method": method, "path": "/api/v1/x", "app": app, "headers": headers}
                asked = asyncio.ensure_future(behind_token(handler, Access.OPERATE)(Request(scope, receive)))
                await begun.wait()
                await hive.tokens.revoke(row.id)
                with pytest.raises(RefusedError) as refused:
                    await asked
                assert refused.value.status == 401
                go.set()
                await ended.wait()
                assert done == ["the second half"] * whole

    asyncio.run(scene())


def test_a_token_keeps_so_many_waiting_and_no_more() -> None:
    async def scene() -> None:
        begun = asyncio.Semaphore(0)

        async def waits(_: Request) -> Response:
            begun.release()
            return await asyncio.Future()

        with tempfile.TemporaryDirectory(prefix="hh-") as root:
            paths = Paths(state_dir=Path(root) / "state", runtime_dir=Path(root) / "run")
            async with asyncio.timeout(PATIENCE_S), hive_at(paths, rehearsal=None) as hive:
                one, _ = await hive.tokens.create("one", "read", None)
                other, _ = await hive.tokens.create("other", "read", None)
                app = create_app(hive, hive.doors, WebSettings())

                def ask(token: str) -> "asyncio.Task[Response]":
                    steps: list[Message] = [{"type": "http.request", "body": b""}]

                    async def receive() -> Message:
                        return steps.pop() if steps else await asyncio.Future()

                    headers = [(b"authorization", f"Bearer {token}".encode())]
                    scope = {"type": "http", "method": "GET", "path": "/api/v1/x", "app": app, "headers": headers}
                    return asyncio.ensure_future(behind_token(waits, Access.READ)(Request(scope, receive)))

                held = [ask(one) for _ in range(AT_ONCE)]
                for _ in held:
                    await begun.acquire()
                with pytest.raises(RefusedError) as refused:
                    await ask(one)
                assert refused.value.status == 429
                held.append(ask(other))
                await begun.acquire()
                for asked in held:
                    asked.cancel()
                await asyncio.gather(*held, return_exceptions=True)

    asyncio.run(scene())
