"""The rehearsal model from its sockets: HTTP, its bounds, and its life as a process."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hyperhive.rehearsal.exchange import MAX_BODY, MAX_HEAD
from hyperhive.rehearsal.script import Call, Cut, Fail, Gate, Reset, Say, Stall, Think, on
from hyperhive.rehearsal.server import AddressTakenError, serving_pid
from hyperhive.testing.model import ScriptedModel

ASK = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
MESSAGES = "/v1/messages?beta=true"


class Answer:
    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line[6:]) for line in self.body.decode().splitlines() if line.startswith("data: ")]


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    with ScriptedModel(port=0) as model:
        yield model


def connect(model: ScriptedModel) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", model.port, timeout=20)


def post(model: ScriptedModel, request: Any = ASK, path: str = MESSAGES, **fields: Any) -> Answer:
    with contextlib.closing(connect(model)) as connection:
        body = request if isinstance(request, bytes) else json.dumps({**request, **fields})
        connection.request("POST", path, body)
        return Answer(connection.getresponse())


def raw(model: ScriptedModel, data: bytes) -> bytes:
    """What comes back for these bytes until the server closes."""
    with socket.create_connection(("127.0.0.1", model.port), timeout=20) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        answer = bytearray()
        with contextlib.suppress(ConnectionError):
            while data := connection.recv(65536):
                answer += data
        return bytes(answer)


def test_a_streamed_answer_has_the_events_of_the_messages_api(model: ScriptedModel) -> None:
    model.script("*", on("hello", Think("hm"), Say("Hi."), Call("Bash", {"command": "ls"})))
    events = post(model, stream=True).events
    kinds = [event["type"] for event in events if event["type"] != "ping"]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    blocks = [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"]
    assert blocks == ["thinking", "text", "tool_use"]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"


def test_an_answer_that_is_not_streamed_is_one_object(model: ScriptedModel) -> None:
    model.script("*", on("hello", Say("Hi."), Call("Bash", {"command": "ls"})))
    answer = post(model).json
    assert [block["type"] for block in answer["content"]] == ["text", "tool_use"]
    assert answer["content"][1]["input"] == {"command": "ls"}
    assert answer["stop_reason"] == "tool_use"


def test_the_same_request_gets_the_same_part_with_new_ids(model: ScriptedModel) -> None:
    model.script("*", on("hello", Call("Bash", {"command": "ls"})))
    first, second = post(model).json, post(model).json
    assert first["content"][0]["input"] == second["content"][0]["input"]
    assert first["content"][0]["id"] != second["content"][0]["id"]


def test_tokens_are_counted(model: ScriptedModel) -> None:
    assert post(model, path="/v1/messages/count_tokens?beta=true").json["input_tokens"] > 0
    assert model.requests() == []


def test_a_connection_serves_one_request_after_the_other(model: ScriptedModel) -> None:
    model.script("*", on("", Say("Hi.")))
    with contextlib.closing(connect(model)) as connection:
        for _ in range(3):
            connection.request("POST", MESSAGES, json.dumps({**ASK, "stream": True}))
            assert Answer(connection.getresponse()).status == 200
    assert len(model.requests()) == 3


def test_an_error_carries_the_headers_that_the_script_names(model: ScriptedModel) -> None:
    fault = Fail(429, retry_after_s=7, may_retry=False, limit_resets_in_s=60, headers={"x-more": "1"})
    model.script("*", on("", fault))
    answer = post(model)
    assert answer.status == 429
    assert answer.json["error"]["type"] == "rate_limit_error"
    assert [answer.headers[name] for name in ("retry-after", "x-should-retry", "x-more")] == ["7", "false", "1"]
    assert answer.headers["anthropic-ratelimit-unified-status"] == "rejected"
    assert answer.headers["anthropic-ratelimit-unified-reset"].isdigit()


def test_a_fault_happens_as_often_as_it_says(model: ScriptedModel) -> None:
    model.script("*", on("", Fail(529, times=2), Say("Hi.")))
    assert [post(model).status for _ in range(3)] == [529, 529, 200]


def test_a_cut_answer_has_no_end(model: ScriptedModel) -> None:
    model.script("*", on("", Say("Half of"), Cut()))
    with pytest.raises(http.client.IncompleteRead) as broken:
        post(model, stream=True)
    assert b"Half of" in broken.value.partial


def test_a_reset_connection_is_reset(model: ScriptedModel) -> None:
    model.script("*", on("", Reset()))
    with pytest.raises(ConnectionResetError):
        post(model, stream=True)


def test_who_hangs_up_at_a_gate_does_not_keep_the_model_busy(model: ScriptedModel) -> None:
    model.script("*", on("", Gate("never"), Say("Hi.")))
    with contextlib.closing(connect(model)) as connection:
        connection.request("POST", MESSAGES, json.dumps(ASK))
        model.gate("never").wait_reached()
    model.script("*", on("", Say("Next.")))
    assert post(model).json["content"][0]["text"] == "Next."


def test_a_stalled_answer_ends_with_the_model() -> None:
    with ScriptedModel(port=0) as model:
        model.script("*", on("", Say("Wait"), Stall()))
        connection = connect(model)
        connection.request("POST", MESSAGES, json.dumps({**ASK, "stream": True}))
        response = connection.getresponse()
    with contextlib.closing(connection), pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()


def test_who_does_not_read_does_not_keep_the_model_from_ending() -> None:
    with ScriptedModel(port=0) as model:
        model.script("*", on("", Say("x" * (4 << 20))))
        connection = connect(model)
        connection.request("POST", MESSAGES, json.dumps({**ASK, "stream": True}))
        model.wait()
    connection.close()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"messages": 7}', b"\xff\xfe", b"[" * 1_000_000])
def test_a_body_that_is_no_request_is_refused_in_words(model: ScriptedModel, body: bytes) -> None:
    answer = post(model, body)
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
    assert "cannot read the request" in answer.json["error"]["message"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/messages"), ("POST", "/v1/models"), ("POST", "/")])
def test_other_endpoints_are_not_there(model: ScriptedModel, method: str, path: str) -> None:
    with contextlib.closing(connect(model)) as connection:
        connection.request(method, path)
        assert Answer(connection.getresponse()).status == 404


def test_a_large_request_is_taken(model: ScriptedModel) -> None:
    large = [{"role": "user", "content": "x" * (8 << 20)}, {"role": "user", "content": "hello"}]
    model.script("*", on("^hello$", Say("Hi.")))
    assert post(model, messages=large).status == 200


def test_a_request_that_says_it_is_too_large_is_refused_before_it_is_read(model: ScriptedModel) -> None:
    head = f"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {MAX_BODY + 1}\r\n\r\n"
    assert raw(model, head.encode()).startswith(b"HTTP/1.1 413")


def test_a_request_that_turns_out_too_large_is_cut_off(model: ScriptedModel) -> None:
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    head = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    answer = raw(model, head + chunk * (MAX_BODY // 0x100000 + 2))
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")
    assert post(model).status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * (MAX_HEAD * 2),
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
    ],
    ids=["nonsense", "long header", "bad length", "tls"],
)
def test_what_is_not_http_is_refused_and_harms_nobody(model: ScriptedModel, data: bytes) -> None:
    answer = raw(model, data + b"\r\n\r\n")
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert post(model).status == 200


def test_requests_are_recorded_with_what_a_script_sees(model: ScriptedModel) -> None:
    post(model, system="You are the agent 'scout' of a hyperhive: x")
    post(model)
    assert [each.asked.prompt for each in model.requests("scout")] == ["hello"]
    assert len(model.requests()) == 2
    assert model.wait("scout").request.headers["content-length"]


def test_a_request_that_does_not_come_is_a_timeout(model: ScriptedModel) -> None:
    with pytest.raises(TimeoutError, match="0 requests of 'scout'"):
        model.wait("scout", timeout_s=0.01)


def test_a_wait_ends_when_the_request_arrives(model: ScriptedModel) -> None:
    asking = threading.Thread(target=post, args=(model,))
    asking.start()
    assert model.wait("*", 1).asked.prompt == "hello"
    asking.join()


# the process


@contextlib.contextmanager
def process(path: Path, script: str = "", **env: str) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-m", "hyperhive.rehearsal", "--socket", str(path)] + (
        ["--script", script] if script else []
    )
    plain = {"PATH": os.environ["PATH"]}
    with subprocess.Popen(argv, env=plain | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def post_to(path: Path) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(path))
        body = json.dumps(ASK)
        connection.sendall(
            f"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
        )
        return int(connection.recv(65536).split()[1])


def test_the_process_says_when_it_is_ready_and_ends_on_term(tmp_path: Path) -> None:
    path = tmp_path / "model.sock"
    with process(path, "demo") as model:
        assert model.stdout
        assert json.loads(model.stdout.readline()) == {"socket": str(path), "port": None}
        assert post_to(path) == 200
        assert serving_pid(path) == model.pid
        model.send_signal(signal.SIGTERM)
        assert model.wait(20) == 0
    assert not path.exists()
    assert serving_pid(path) is None


@pytest.mark.parametrize("name", ["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK"])
def test_the_process_refuses_to_start_beside_a_real_credential(tmp_path: Path, name: str) -> None:
    with process(tmp_path / "model.sock", **{name: "1-not-to-be-shown"}) as model:
        _, told = model.communicate(timeout=20)
    assert model.returncode == 2
    assert name in told
    assert "never both" in told
    assert "not-to-be-shown" not in told


def test_the_process_says_what_is_wrong_with_a_script(tmp_path: Path) -> None:
    with process(tmp_path / "model.sock", "no-such-scenario") as model:
        _, told = model.communicate(timeout=20)
    assert model.returncode == 2
    assert "no-such-scenario" in told


def test_a_socket_that_a_dead_model_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "model.sock"
    with process(path) as model:
        assert model.stdout
        model.stdout.readline()
        model.kill()
        model.wait(20)
    assert path.exists()
    with ScriptedModel(path):
        assert post_to(path) == 200


def test_a_socket_that_is_served_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.sock"
    with ScriptedModel(path):
        with pytest.raises(AddressTakenError, match=str(os.getpid())), ScriptedModel(path):
            pass
        assert post_to(path) == 200


def test_any_uid_may_ask(tmp_path: Path) -> None:
    path = tmp_path / "model.sock"
    with ScriptedModel(path):
        assert path.stat().st_mode & 0o777 == 0o666
