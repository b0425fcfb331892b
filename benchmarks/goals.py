"""The goals, as data: how many times faster (or smaller) one figure has to be than another of its run."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.results import Results
from benchmarks.workloads.clients import CLIENTS

__all__ = ["GOALS", "Goal", "Verdict", "judge"]


@dataclass(frozen=True)
class Goal:
    """One goal.

    Attributes:
        text: what it says.
        subject: row and layer that has to be fast.
        against: row and layer that it is compared with.
        at_least: the ratio to reach.
    """

    text: str
    subject: tuple[str, str]
    against: tuple[str, str]
    at_least: float


@dataclass(frozen=True)
class Verdict:
    """What came out: the ratio (None: not measured) and whether it is enough."""

    goal: Goal
    ratio: float | None

    @property
    def met(self) -> bool:
        """Whether the goal was reached."""
        return self.ratio is not None and self.ratio >= self.goal.at_least


def _to_gevent(at_least: float, *rows: str) -> list[Goal]:
    inverted = {1.25: "0.8", 1 / 0.9: "0.9"}
    text = "times gevent's speed"
    if at_least in inverted:
        text = f"{inverted[at_least]} of gevent's cost, inverted"
    return [Goal(f"{row}: {text}", (row, "greenify"), (row, "gevent"), at_least) for row in rows]


_APPLICATIONS = ("instant", "requests", "psycopg2", "psycopg2-unchanged", "psycopg")


def _to(layer: str, at_least: float, row: str) -> Goal:
    return Goal(f"{row}: against {layer}", (row, "greenify"), (row, layer), at_least)


def _within(at_least: float, row: str, base: str) -> Goal:
    return Goal(f"{row}: against {base}", (row, "greenify"), (base, "greenify"), at_least)


def _observed(layer: str, at_least: float, *rows: str) -> list[Goal]:
    return [
        Goal(f"{layer}, {row}: against greenify", (row, layer), (row, "greenify"), at_least)
        for row in rows
    ]


GOALS: tuple[Goal, ...] = (
    *_to_gevent(1.5, "echo-1"),
    *_to_gevent(2.0, "echo-100", "echo-1000"),
    _to("floor", 0.70, "echo-100"),
    *(_within(1 / 1.1, f"echo-{n}-timeout", f"echo-{n}") for n in (1, 100, 1000)),
    *_to_gevent(1.3, "tls-echo"),
    *_to_gevent(1.15, "requests-keep-alive", "requests-fresh"),
    *(_to("threads", 1.0, f"requests-{kind}") for kind in ("keep-alive", "fresh")),
    *_to_gevent(1.3, "gunicorn-instant"),
    *_to_gevent(1.15, "gunicorn-requests"),
    *_to_gevent(1.5, "gunicorn-psycopg2", "gunicorn-psycopg2-unchanged", "gunicorn-psycopg"),
    *_to_gevent(1.0, *(f"gunicorn-{name}-p99" for name in _APPLICATIONS)),
    *_to_gevent(1 / 0.9, "gunicorn-instant-memory-1000"),
    *_to_gevent(1.8, "switch"),
    *_to_gevent(1.5, "spawn"),
    *_to_gevent(1.0, "queue-ping-pong", "queue-fan-out"),
    *_to_gevent(1.5, "simplequeue-ping-pong", "simplequeue-fan-out"),
    *_to_gevent(1.2, "condition", "condition-contended"),
    *_to_gevent(1.2, "lock", "lock-contended", "rlock", "rlock-contended"),
    *_to_gevent(1.2, "event", "event-contended", "semaphore", "semaphore-contended"),
    *_to_gevent(0.5, "local-read", "local-write"),
    *_to_gevent(1.0, "select", "poll", "selector"),
    *_to_gevent(1.0, "getaddrinfo", "subprocess-200"),
    *_to_gevent(1.25, "memory-thread", "memory-connection-1000"),
    *_to_gevent(1.25, "memory-threads-100000"),
    *_to_gevent(1.25, "sleepers-10000", "server-10000"),
    _within(1 / 1.3, "server-10000", "server-100"),
    *_to_gevent(1.0, "import-patch"),
    *_to_gevent(1.1, "celery-sleep", "celery-http"),
    # Where nothing waits, looking after calls into C costs next to nothing; where something does, it takes
    # what it takes with threads.
    *(
        _to("threads", 1 / 1.1, row)
        for row in ("sqlite-select", "sqlite-update", "hash-1k", "hash-update-1k")
    ),
    *(_to("threads", 1 / 1.1, f"zlib-{what}-1k") for what in ("compress", "decompress")),
    *_to_gevent(1.0, "hand-over", "hand-over-20"),
    *(_to("threads", 1 / 1.1, f"client-{name}") for name in CLIENTS),
    *_observed("greenify-traced", 1 / 2.5, "switch"),
    *_observed("greenify-traced", 1 / 1.1, "requests-keep-alive", "requests-fresh"),
    *_observed("greenify-watched", 1 / 1.02, "requests-keep-alive", "requests-fresh"),
    _to("asyncio", 3.0, "echo-100"),
    _to("uvloop", 1.3, "echo-100"),
    *(
        Goal(
            f"gevent-ping-pong: on greenify's loop against {layer}",
            ("gevent-ping-pong", "gevent-greenify"),
            ("gevent-ping-pong", layer),
            at_least,
        )
        for layer, at_least in (("gevent-libuv", 2.0), ("gevent", 0.9))
    ),
)


def judge(results: Results) -> list[Verdict]:
    """Every goal with what the run says of it."""
    return [Verdict(goal, results.ratio(goal.subject, goal.against)) for goal in GOALS]
