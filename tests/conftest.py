"""What every test gets: nothing may block the event loop, and nothing of the operator's environment leaks in."""

from collections.abc import Iterator

import pytest
from blockbuster import BlockBuster


@pytest.fixture(autouse=True)
def _no_blocking_calls_in_hyperhive() -> Iterator[None]:
    blocker = BlockBuster("hyperhive")
    # A child is begun within the loop; what is read there is that the other program has begun.
    blocker.functions["os.read"].can_block_in("/subprocess.py", "_execute_child")
    blocker.activate()
    yield
    blocker.deactivate()


@pytest.fixture(autouse=True)
def _environment_of_the_project_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HYPERHIVE_STATE_DIR", "HYPERHIVE_RUNTIME_DIR", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
