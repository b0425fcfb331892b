"""The workloads, as data.

The programs are written once, with the standard library's names, and imported after the layer has patched
them; those of other idioms and of the floor stand in modules of their own, under the same names.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.layers import LAYERS, Layer
from benchmarks.sample import Sample
from benchmarks.workloads.clients import CLIENTS

__all__ = ["WORKLOADS", "Workload"]

_COMMON = ("greenify", "gevent", "eventlet", "threads")
# What observes is measured where it counts.
_OBSERVED = (*_COMMON, "greenify-traced", "greenify-watched")
_AIO = ("asyncio", "uvloop")
_LOOPS = ("gevent", "gevent-libuv", "gevent-greenify")
_FLOOR = ("floor",)
_IDIOMS = {"asyncio": "coroutines", "uvloop": "coroutines", "floor": "plain_loops"}


@dataclass(frozen=True)
class Workload:
    """One row of the tables.

    Attributes:
        name: of the row.
        module: where in `benchmarks.workloads` its program is.
        function: the program; in the modules of other idioms it has the same name.
        arguments: what it is called with.
        idioms: the layers with a counterpart in their own idiom.
        quick: what replaces `arguments` in a quick run.
        needs: the resources it is called with beside its arguments.
        unit: of the cost: seconds, bytes or a number.
        bare: the program runs in a process without the layer and is given the layer's `enter`.
        hosted: the program starts a server of the layer's: it runs in a process without the layer and is
            given its name and the row's.
        layers: those with the common source.
        modules: what has to be importable for it, whatever the layer.
    """

    name: str
    module: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)
    idioms: tuple[str, ...] = ()
    quick: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    unit: str = "s"
    bare: bool = False
    hosted: bool = False
    layers: tuple[str, ...] = _COMMON
    modules: tuple[str, ...] = ()

    @property
    def all_layers(self) -> tuple[str, ...]:
        """Every layer that the workload runs under."""
        return self.layers + self.idioms

    def program(self, layer: Layer) -> Callable[..., Sample]:
        """The function to run under `layer`, imported now."""
        module = _IDIOMS[layer.name] if layer.idiom else self.module
        found: Callable[..., Sample] = getattr(
            importlib.import_module(f"benchmarks.workloads.{module}"), self.function
        )
        return found

    def arguments_for(self, layer: Layer, quick: bool) -> dict[str, Any]:
        """What the program is called with, resources left out."""
        arguments = self.arguments | (self.quick if quick else {})
        if self.hosted:
            arguments |= {"layer": layer.name, "row": self.name}
        return arguments | ({"enter": layer.enter} if self.bare else {})


def _n(number: int, quick: int, **others: Any) -> dict[str, Any]:
    # The number of operations, in full and quick runs, and other arguments.
    return {"arguments": {"operations": number, **others}, "quick": {"operations": quick}}


def _network() -> list[Workload]:
    both = (*_AIO, *_FLOOR)
    rows = []
    for connections, number in ((1, 12000), (100, 20000), (1000, 20000)):
        quick = max(connections, number // 40)
        variants: tuple[tuple[str, dict[str, Any]], ...] = (
            ("", {}),
            ("-timeout", {"timeout": 30.0}),
        )
        for suffix, more in variants:
            name = f"echo-{connections}{suffix}"
            how = _n(number, quick, connections=connections, **more)
            rows.append(Workload(name, "network", "echo", idioms=both, **how))
    for connections, number in ((1, 1000), (100, 1000)):
        how = _n(number, 100, connections=connections, size=256 * 1024)
        rows.append(Workload(f"echo-{connections}-256k", "network", "echo", idioms=both, **how))
    how = _n(6000, 100, connections=50)
    rows.append(
        Workload("tls-echo", "network", "tls_echo", idioms=both, needs=("certificate",), **how)
    )
    for connections in (1, 10, 100, 1000, 10000):
        # All connections at once, at least twice.
        how = _n(max(20000, 2 * connections), max(200, connections), connections=connections)
        rows.append(
            Workload(f"server-{connections}", "network", "serve_driver", idioms=_FLOOR, **how)
        )
    rows.append(Workload("accept", "network", "accept", idioms=_FLOOR, **_n(3000, 100)))
    rows.append(Workload("udp", "network", "udp", idioms=_FLOOR, **_n(10000, 100)))
    return rows


def _web() -> list[Workload]:
    rows = []
    for name, function, number in (
        ("requests-keep-alive", "keep_alive", 1500),
        ("requests-fresh", "fresh", 800),
    ):
        how = _n(number, 20)
        both = (*_AIO, *_FLOOR)
        rows.append(
            Workload(name, "web", function, layers=_OBSERVED, idioms=both, needs=("nginx",), **how)
        )
    slow: dict[str, Any] = {
        "arguments": {"operations": 2000},
        "quick": {"operations": 20, "workers": 20},
    }
    rows.append(
        Workload("requests-1000-slow", "web", "slow_answers", idioms=_AIO, needs=("slow",), **slow)
    )
    return rows


def _hosted() -> list[Workload]:
    rows = []
    for name, function, needs, more in (
        ("instant", "gunicorn", (), {"idle": 1000}),
        ("requests", "gunicorn_on_requests", ("nginx",), {}),
        ("psycopg2", "gunicorn_on_postgres", ("postgres",), {"driver": "psycopg2"}),
        (
            "psycopg2-unchanged",
            "gunicorn_on_postgres",
            ("postgres",),
            {"driver": "psycopg2_unchanged"},
        ),
        ("psycopg", "gunicorn_on_postgres", ("postgres",), {"driver": "psycopg"}),
    ):
        how: dict[str, Any] = {
            "arguments": {"seconds": 5.0, **more},
            "quick": {
                "seconds": 1.0,
                "connections": 10,
                **({"idle": 10} if "idle" in more else {}),
            },
        }
        rows.append(
            Workload(
                f"gunicorn-{name}",
                "hosted",
                function,
                needs=("wrk", *needs),
                layers=("greenify", "gevent", "threads", "sync"),
                hosted=True,
                **how,
            )
        )
    return rows


def _scheduling() -> list[Workload]:
    sleepers: dict[str, Any] = {
        "arguments": {"threads": 10000, "naps": 3},
        "quick": {"threads": 100, "naps": 2},
    }
    parked: dict[str, Any] = {"arguments": {"threads": 5000}, "quick": {"threads": 100}}
    idle: dict[str, Any] = {"arguments": {"seconds": 2.0}, "quick": {"seconds": 0.2}}
    return [
        Workload(
            "switch", "scheduling", "switch", layers=_OBSERVED, idioms=_AIO, **_n(100000, 1000)
        ),
        Workload("spawn", "scheduling", "spawn", idioms=_AIO, **_n(8000, 100)),
        Workload("local-read", "scheduling", "read_local", **_n(1000000, 1000)),
        Workload("local-write", "scheduling", "write_local", **_n(1000000, 1000)),
        Workload("sleepers-10000", "scheduling", "sleepers", idioms=_AIO, **sleepers),
        Workload("memory-thread", "scheduling", "parked", unit="B", **parked),
        *(
            Workload(
                f"threads-{number}",
                "scheduling",
                "crowd",
                layers=layers,
                arguments={"threads": number},
                quick={"threads": 100},
            )
            # A million OS threads, or greenlets of gevent, is more than many machines have room for.
            for number, layers in ((100_000, ("greenify", "gevent")), (1_000_000, ("greenify",)))
        ),
        Workload("idle-wake-ups", "scheduling", "idle", unit="", **idle),
    ]


def _synchronising() -> list[Workload]:
    rows = []
    for kind in ("Lock", "RLock", "Semaphore"):
        name = kind.lower()
        idioms = _AIO if kind != "RLock" else ()
        free = _n(300000, 1000, kind=kind)
        taken = _n(30000, 1000, kind=kind)
        rows += [
            Workload(name, "synchronising", "held_alone", idioms=idioms, **free),
            Workload(f"{name}-contended", "synchronising", "held_in_turn", idioms=idioms, **taken),
        ]
    for function, idioms, number in (
        ("condition_free", (), 100000),
        ("condition_contended", _AIO, 15000),
        ("event_free", (), 200000),
        ("event_contended", _AIO, 20000),
    ):
        name = function.replace("_free", "").replace("_", "-")
        how = _n(number, 500)
        rows.append(Workload(name, "synchronising", function, idioms=idioms, **how))
    for kind in ("Queue", "SimpleQueue"):
        for function, number in (("ping_pong", 15000), ("fan_out", 40000)):
            name = f"{kind.lower()}-{function.replace('_', '-')}"
            how = _n(number, 500, kind=kind)
            rows.append(Workload(name, "synchronising", function, idioms=_AIO, **how))
    return rows


def _others() -> list[Workload]:
    rows = []
    for way in ("select", "poll", "epoll", "selector"):
        how = _n(10000, 200, way=way)
        rows.append(Workload(way, "waiting", "waits", idioms=_FLOOR, **how))
    rows.append(Workload("getaddrinfo", "waiting", "lookups", idioms=_AIO, **_n(2000, 40)))
    both = (*_AIO, *_FLOOR)
    rows.append(Workload("subprocess-200", "waiting", "subprocesses", idioms=both, **_n(200, 20)))
    entering = tuple(name for name in _COMMON if LAYERS[name].enter)
    for name, function in (("import-patch", "patching"), ("import-time", "import_time")):
        rows.append(Workload(name, "startup", function, bare=True, layers=entering))
    return rows


def _celery() -> list[Workload]:
    layers = ("greenify", "gevent", "threads")
    return [
        Workload(
            f"celery-{name}", "celery_tasks", function, bare=True, layers=layers, needs=needs,
            modules=("celery", "redis"), **_n(2000, 40),
        )
        for name, function, needs in (
            ("sleep", "napping", ("redis",)),
            ("http", "fetching", ("redis", "nginx")),
        )
    ]  # fmt: skip


def _native_calls() -> list[Workload]:
    plain = ("greenify", "gevent", "threads")
    rows = [
        Workload(name, "native_calls", "handed_over", **_n(20000, 2000, threads=threads))
        for name, threads in (("hand-over", 1), ("hand-over-20", 20))
    ]
    for name, function, what, number in (
        ("sqlite-select", "statements", "select", 200000),
        ("sqlite-update", "statements", "update", 20000),
        ("hash-1k", "computing", "hash", 300000),
        ("hash-update-1k", "computing", "hash-update", 500000),
        ("zlib-compress-1k", "computing", "compress", 20000),
        ("zlib-decompress-1k", "computing", "decompress", 300000),
    ):
        how = _n(number, 200, what=what)
        rows.append(Workload(name, "native_calls", function, layers=plain, **how))
    return rows


def _clients() -> list[Workload]:
    return [
        Workload(
            f"client-{name}",
            "clients",
            "waits",
            {"client": name, "threads": 20, "seconds": 0.3},
            quick={"threads": 5, "seconds": 0.05},
            needs=(need,),
            modules=(module,),
            layers=("greenify", "gevent", "threads"),
        )
        for name, (module, need, _) in CLIENTS.items()
    ]


def _gevent_loops() -> list[Workload]:
    return [
        Workload(f"gevent-{name}", "gevent_loops", function, layers=_LOOPS, **_n(number, quick))
        for name, function, number, quick in (
            ("ping-pong", "ping_pong", 30000, 200),
            ("sleep-0", "sleep_zero", 200000, 1000),
            ("timers", "timers", 50000, 200),
            ("sleep-lateness", "short_sleeps", 200, 20),
            ("signals", "signals", 30, 2),
        )
    ]


#: Every workload by its name, in the order of the tables.
WORKLOADS: dict[str, Workload] = {
    row.name: row
    for rows in (
        _network(),
        _web(),
        _hosted(),
        _scheduling(),
        _synchronising(),
        _others(),
        _celery(),
        _native_calls(),
        _clients(),
        _gevent_loops(),
    )
    for row in rows
}
