"""The numbers of `greenify.stats` for prometheus_client.

    from greenify.integrations.prometheus import register
    register()

Each scrape asks once; between scrapes nothing is counted.  The histogram of the loop's delay is there if
`greenify.inspect.measure_delays` has been called.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from greenify.inspect.stats import Delays, stats

__all__ = ["GreenifyCollector", "register"]

_GAUGES = (
    ("threads", "threads", "Green threads and tasks that live, with the main ones."),
    ("ready", "ready_threads", "Green threads and tasks that could run at once."),
    ("waiting_deadlines", "pending_deadlines", "Sleeps and time-outs that are pending."),
    ("handed_over", "handed_over_calls", "Calls that run on native threads now."),
    ("native_threads", "native_threads", "Native threads of greenify's own."),
    ("registered_descriptors", "registered_descriptors", "Descriptors registered with the kernel."),
    ("hubs", "hubs", "OS threads that run green threads."),
)


class GreenifyCollector(Collector):
    """Collects `greenify.stats` when it is asked; to be registered once in a process."""

    def describe(self) -> Iterator[Metric]:
        """What a registry knows it by, so that it takes no second one."""
        return self.collect()

    def collect(self) -> Iterator[Metric]:
        """The metrics now."""
        now = stats()
        for attribute, name, text in _GAUGES:
            yield GaugeMetricFamily(f"greenify_{name}", text, value=getattr(now, attribute))
        if now.open_descriptors is not None:
            yield GaugeMetricFamily(
                "greenify_open_descriptors",
                "Descriptors of the process.",
                value=now.open_descriptors,
            )
        yield CounterMetricFamily(
            "greenify_rounds", "Rounds of the ready queues of all hubs.", value=now.rounds
        )
        if now.switches is not None:
            yield CounterMetricFamily(
                "greenify_switches",
                "How many times threads and tasks have given way to others.",
                value=now.switches,
            )
        if now.delays is not None:
            yield _histogram(now.delays)


def _histogram(delays: Delays) -> HistogramMetricFamily:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*delays.bounds, float("inf")), delays.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
    return HistogramMetricFamily(
        "greenify_loop_delay_seconds",
        "How late the loop has called what was due.",
        buckets=buckets,
        sum_value=delays.total,
    )


def register(registry: Any = REGISTRY) -> GreenifyCollector:
    """Register a collector.

    Args:
        registry: prometheus_client's own by default.

    Raises:
        ValueError: the registry has one already.
    """
    collector = GreenifyCollector()
    registry.register(collector)
    return collector
