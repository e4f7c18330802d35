"""How a container ended, where the kernel does not say it of somebody else's process."""

import pytest

from hyperhive.containers.keeper import Exit
from hyperhive.containers.pidfd import Process
from hyperhive.containers.records import Record

NAMED, UNNAMED = 0, 255


def record(code_of_signals: int) -> Record:
    shim = Process(pid=1, start=1)
    return Record(name="h-a", shim=shim, init=None, boot="", code_of_signals=code_of_signals)


@pytest.mark.parametrize(
    ("code_of_signals", "code", "oom", "signalled", "outcome"),
    [
        (NAMED, 0, False, 15, Exit(status=0)),
        (NAMED, 0, True, 0, Exit(status=0, oom=True)),
        (NAMED, 7, False, 0, Exit(status=7)),
        (NAMED, 137, True, 0, Exit(signal=9, oom=True)),
        (NAMED, 255, False, 15, Exit(status=255)),
        (NAMED, None, False, 0, Exit()),
        (UNNAMED, 0, False, 15, Exit(status=0)),
        (UNNAMED, 255, False, 9, Exit(signal=9)),
        (UNNAMED, 255, True, 15, Exit(signal=9, oom=True)),
        (UNNAMED, 255, False, 0, Exit(status=255)),
        (UNNAMED, 255, False, 37, Exit(status=255)),  # a service manager ends by itself at that
    ],
)
def test_a_shims_word_is_a_signal_only_where_it_can_be_one(
    code_of_signals: int, code: int | None, oom: bool, signalled: int, outcome: Exit
) -> None:
    assert record(code_of_signals).told(code, oom=oom, signalled=signalled) == outcome
