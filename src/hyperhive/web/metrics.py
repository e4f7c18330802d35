"""The hive in numbers, for Prometheus: added up when it asks, and kept nowhere."""

import asyncio
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

import hyperhive
from hyperhive.broker.jobs import JobState
from hyperhive.broker.totals import OTHER, Sums, TurnSum
from hyperhive.hub.agents import Phase
from hyperhive.hub.hive import Hive
from hyperhive.hub.status import state
from hyperhive.protocol.events import Rest, TurnState
from hyperhive.protocol.ids import OPERATOR
from hyperhive.web.route import hive_of

_HELD: Final = ("failed", "no_room", "needs_login", "stuck", "paused", "budget", "rate_limited", "overloaded")
_STATES: Final = (*_HELD, *Phase, *Rest, *TurnState)
_TOKENS: Final[Mapping[str, Callable[[TurnSum], float]]] = {
    "input": lambda sum: sum.input_tokens,
    "output": lambda sum: sum.output_tokens,
    "cache_read": lambda sum: sum.cache_read_tokens,
    "cache_creation": lambda sum: sum.cache_creation_tokens,
}


async def metrics(request: Request) -> Response:
    families = await _families(hive_of(request))
    return Response(await asyncio.to_thread(_written, families), media_type=CONTENT_TYPE_PLAIN_0_0_4)


class _Asked(Collector):
    """What the hive was asked before: collecting it waits for nothing."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _written(families: list[Metric]) -> bytes:
    """Reads /proc."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Asked(families))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    return generate_latest(registry)


async def _families(hive: Hive) -> list[Metric]:
    sums, unread, dead = await asyncio.gather(
        hive.totals.now(), hive.mailbox.unread_counts(), hive.mailbox.dead_count()
    )
    return [
        _build(hive),
        *_agents(hive),
        _each("hive_mail_queued", "Messages that wait, by recipient", "to", _of_living(hive, unread)),
        _one("hive_mail_dead", "Messages that were given up and wait for the operator", dead),
        _each("hive_jobs", "Jobs, by state; ended ones as long as they are kept", "state",
              {**dict.fromkeys(JobState, 0), **sums.jobs}),
        _one("hive_approvals_pending", "Approvals that wait for the operator", sums.pending_approvals),
        _one("hive_questions_open", "Questions that nobody has answered", sums.open_questions),
        CounterMetricFamily("hive_events", "Events so far, restarts included", value=hive.fleet.chronicle.events.last),
        _one("hive_dashboard_streams", "Streams that browsers have open", hive.doors.streams),
        *_turns(hive, sums),
    ]  # fmt: skip


def _build(hive: Hive) -> Metric:
    family = GaugeMetricFamily("hive_build_info", "Which hive it is", labels=["version", "python", "backend"])
    family.add_metric([hyperhive.__version__, platform.python_version(), hive.fleet.house.keepers.usual], 1)
    return family


def _agents(hive: Hive) -> Iterator[Metric]:
    agents = hive.fleet.agents()
    states = Counter(word if (word := state(agent)) in _STATES else OTHER for agent in agents)
    counted = {**dict.fromkeys(_STATES, 0), **states}
    yield _each("hive_agents", "Agents, by the one word that says how they are", "state", counted)
    yield _one("hive_containers_running", "Containers that run", sum(agent.running for agent in agents))


def _turns(hive: Hive, sums: Sums) -> Iterator[Metric]:
    """How many, how long and at what price, as the agents' harnesses say. An agent's numbers go when it does: names
    come and go, and the series of each would stay."""
    labels = ["agent", "outcome"]
    turns = CounterMetricFamily("hive_turns", "Turns that have ended", labels=labels)
    seconds = CounterMetricFamily("hive_turn_seconds", "What they took", labels=labels)
    cost = CounterMetricFamily("hive_turn_cost_usd", "What they cost", labels=labels)
    tools = CounterMetricFamily("hive_turn_tool_calls", "Tools that were called in them", labels=labels)
    tokens = CounterMetricFamily("hive_turn_tokens", "Tokens that they took", labels=[*labels, "kind"])
    for row in sums.turns:
        if row.agent not in hive.fleet:
            continue
        these = [row.agent, row.outcome]
        turns.add_metric(these, row.turns)
        seconds.add_metric(these, row.seconds)
        cost.add_metric(these, row.cost_usd)
        tools.add_metric(these, row.tool_calls)
        for kind, count in _TOKENS.items():
            tokens.add_metric([*these, kind], count(row))
    return iter((turns, seconds, cost, tools, tokens))


def _of_living(hive: Hive, counts: Mapping[str, int]) -> dict[str, int]:
    names = [OPERATOR, *map(str, hive.fleet.names())]
    return {name: counts.get(name, 0) for name in names}


def _one(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _each(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for word, value in values.items():
        family.add_metric([word], value)
    return family
