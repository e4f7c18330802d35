"""What harnesses may ask of a hive, asked without a socket."""

from hyperhive.hub.hive import Hive
from hyperhive.hub.runners import Runners


def runners_of(hive: Hive) -> Runners:
    """Of a hive that lives in the test's own process."""
    return Runners(
        fleet=hive.fleet,
        mailbox=hive.mailbox,
        events=hive.fleet.chronicle.events,
        turns=hive.turns,
        budgets=hive.budgets,
        chronicle=hive.fleet.chronicle,
        credentials=hive.credentials,
        limits=hive.limits,
        lookout=hive.lookout,
    )
