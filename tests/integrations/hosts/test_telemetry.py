"""OpenTelemetry and Sentry: what they send in the background comes, and each thread's own is in it."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.integrations.hosts.hosting import needs
from tests.support import run_python

both_modes = pytest.mark.parametrize("mode", [False, True], ids=["threads", "greenify"])


@contextmanager
def collecting() -> Iterator[tuple[int, list[bytes]]]:
    """The port of a server that answers every POST with 200, and the bodies that it gets."""
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            encoding = self.headers.get("Content-Encoding", "identity")
            assert encoding in ("gzip", "identity"), encoding
            bodies.append(gzip.decompress(body) if encoding == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_port, bodies
        finally:
            server.shutdown()
            serving.join()


OPENTELEMETRY = """
import os, sys, threading, time
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
provider = TracerProvider()
# Sent by the processor's own thread, once it has 32 of them.
exporter = OTLPSpanExporter(f"http://127.0.0.1:{sys.argv[1]}/v1/traces")
provider.add_span_processor(
    BatchSpanProcessor(exporter, schedule_delay_millis=600_000, max_export_batch_size=32)
)
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("program")
start = threading.Barrier(20)

def work(number):
    with tracer.start_as_current_span(f"outer {number}"):
        start.wait(60)
        for _ in range(3):
            with tracer.start_as_current_span(f"inner {number}"):
                time.sleep(0.001)

threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
# A real thread that is about to send would take a lock along into the child.
assert provider.force_flush()
child = os.fork()
if not child:
    # The processor starts its thread again.
    with tracer.start_as_current_span("child"):
        pass
    os._exit(0 if provider.force_flush() else 1)
assert os.waitpid(child, 0)[1] == 0
# What is left is sent at the end.
with tracer.start_as_current_span("last"):
    pass
"""


@both_modes
def test_opentelemetry(mode: bool) -> None:
    needs("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    with collecting() as (port, bodies):
        run_python(OPENTELEMETRY, port, greenify=mode, check=True)
    spans: list[Any] = [
        span
        for body in bodies
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    names = {span.span_id: span.name for span in spans}
    expected = [f"{kind} {n}" for n in range(20) for kind in ("inner",) * 3 + ("outer",)]
    assert sorted(span.name for span in spans) == sorted(["child", "last", *expected])
    for span in spans:
        if span.name.startswith("inner"):
            assert names[span.parent_span_id] == span.name.replace("inner", "outer")


SENTRY = """
import sys, threading, time
import sentry_sdk
from sentry_sdk.integrations.modules import ModulesIntegration
sentry_sdk.init(
    f"http://key@127.0.0.1:{sys.argv[1]}/1",
    traces_sample_rate=1.0,
    profile_session_sample_rate=1.0,
    # Each thread would look through all packages that are installed.
    disabled_integrations=[ModulesIntegration()],
    _experiments={"transport_compression_algo": "gzip"},
)
threading.excepthook = lambda args: None
start = threading.Barrier(20)

def work(number):
    with sentry_sdk.isolation_scope():
        sentry_sdk.set_tag("number", number)
        with sentry_sdk.start_transaction(name=f"transaction {number}"):
            start.wait(60)
            with sentry_sdk.start_span(op="wait"):
                time.sleep(0.001)
            try:
                raise ValueError(f"caught {number}")
            except ValueError:
                sentry_sdk.capture_exception()
    raise KeyError(f"uncaught {number}")

threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

def compute():
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass

sentry_sdk.profiler.start_profiler()
compute()
sentry_sdk.profiler.stop_profiler()
while any("profiler" in thread.name for thread in threading.enumerate()):
    time.sleep(0.01)
sentry_sdk.flush(60)
"""


@both_modes
def test_sentry(mode: bool) -> None:
    needs("sentry-sdk")
    with collecting() as (port, bodies):
        run_python(SENTRY, port, greenify=mode, check=True)
    events, transactions, profiles = [], {}, []
    for body in bodies:
        lines = body.split(b"\n")
        for header, payload in zip(lines[1::2], lines[2::2], strict=False):
            kind = json.loads(header)["type"]
            if kind == "event":
                events.append(json.loads(payload))
            elif kind == "transaction":
                transaction = json.loads(payload)
                transactions[transaction["transaction"]] = transaction
            elif kind == "profile_chunk":
                profiles.append(json.loads(payload))
    caught = {}
    uncaught = set()
    for event in events:
        value = event["exception"]["values"][-1]["value"]
        if value.startswith("caught"):
            caught[value] = event["tags"]["number"]
        else:
            uncaught.add(value.strip("'"))
    numbers = range(20)
    assert caught == {f"caught {number}": number for number in numbers}
    assert uncaught == {f"uncaught {number}" for number in numbers}
    for number in numbers:
        transaction = transactions[f"transaction {number}"]
        assert transaction["tags"]["number"] == number
        assert [span["op"] for span in transaction["spans"]] == ["wait"]
    assert "compute" in {frame["function"] for p in profiles for frame in p["profile"]["frames"]}
