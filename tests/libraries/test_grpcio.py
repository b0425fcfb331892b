"""grpcio: calls and streams of every kind, between a client and a server in threads of one process."""

from __future__ import annotations

import signal

import pytest

from tests.libraries.programs import both_modes, check, needs
from tests.support import Mode, running_python

needs("grpc")

READY = """
    os.environ["GRPC_VERBOSITY"] = "NONE"  # or it reports every server that ends
    import grpc, grpc.experimental
    from concurrent import futures

    gate = threading.Event()

    def slow(request, context):
        time.sleep(0.1)
        return request.upper()

    def fail(request, context):
        context.set_trailing_metadata((("why", "because"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "nothing there")

    def crash(request, context):
        raise KeyError("lost")

    def never(request, context):
        context.add_callback(gate.set)
        while context.is_active():
            time.sleep(0.01)
        return b""

    def count(request, context):
        for number in range(int(request)):
            time.sleep(0.005)
            yield b"%d" % number

    def total(requests, context):
        return b"%d" % sum(map(int, requests))

    def echo(requests, context):
        for request in requests:
            yield request.upper()

    def serve(interceptors=(), workers=20):
        server = grpc.server(futures.ThreadPoolExecutor(workers), interceptors=interceptors)
        handlers = {
            "slow": grpc.unary_unary_rpc_method_handler(slow),
            "fail": grpc.unary_unary_rpc_method_handler(fail),
            "crash": grpc.unary_unary_rpc_method_handler(crash),
            "never": grpc.unary_unary_rpc_method_handler(never),
            "count": grpc.unary_stream_rpc_method_handler(count),
            "total": grpc.stream_unary_rpc_method_handler(total),
            "echo": grpc.stream_stream_rpc_method_handler(echo),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("S", handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return server, f"127.0.0.1:{port}"
"""


@both_modes
class TestGrpc:
    def test_unary(self, mode: Mode) -> None:
        check(
            READY
            + """
    server, address = serve()
    with grpc.insecure_channel(address) as channel:
        method = channel.unary_unary("/S/slow")
        assert ticks_during(method, b"a", timeout=LONG) == b"A"
        response, call = method.with_call(b"b", timeout=LONG, metadata=(("key", "value"),))
        assert response == b"B" and call.code() is grpc.StatusCode.OK
        start = time.monotonic()
        threads = [Thread(method, b"x%d" % n, timeout=LONG) for n in range(20)]
        assert [thread.end() for thread in threads] == [b"X%d" % n for n in range(20)]
        assert time.monotonic() - start < 1.5, "one after the other"
        assert channel.stream_unary("/S/total")(iter([b"1", b"2", b"3"]), timeout=LONG) == b"6"
        pending = [method.future(b"f%d" % n) for n in range(5)]
        assert [each.result(LONG) for each in pending] == [b"F%d" % n for n in range(5)]
    server.stop(None).wait()
            """,
            mode,
        )

    def test_errors(self, mode: Mode) -> None:
        check(
            READY
            + """
    import logging; logging.disable(logging.CRITICAL)
    server, address = serve()
    channel = grpc.insecure_channel(address)
    def error(name, *args, kind="unary_unary", **kwargs):
        try:
            getattr(channel, kind)(name)(*args, **kwargs)
        except grpc.RpcError as exc:
            return exc
        assert False
    exc = error("/S/fail", b"", timeout=LONG)
    assert exc.code() is grpc.StatusCode.NOT_FOUND and exc.details() == "nothing there"
    assert dict(exc.trailing_metadata())["why"] == "because"
    assert type(exc).__name__ == "_InactiveRpcError", type(exc)
    assert error("/S/crash", b"", timeout=LONG).code() is grpc.StatusCode.UNKNOWN
    assert error("/S/none", b"", timeout=LONG).code() is grpc.StatusCode.UNIMPLEMENTED
    exc = ticks_during(error, "/S/never", b"", timeout=0.1)
    assert exc.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert gate.wait(LONG), "the server has not been told"
    exc = error("/S/total", (int("x") for _ in range(1)), kind="stream_unary", timeout=LONG)
    assert exc.code() is grpc.StatusCode.UNKNOWN
    # Cancelled, and the channel closed, while another thread waits.
    gate.clear()
    future = channel.unary_unary("/S/never").future(b"")
    future.add_done_callback(lambda _: gate.set())
    future.cancel()
    assert gate.wait(LONG) and future.cancelled() and future.code() is grpc.StatusCode.CANCELLED
    thread = Thread(error, "/S/never", b"")
    time.sleep(0.1)
    channel.close()
    assert thread.end().code() is grpc.StatusCode.CANCELLED
    assert outcome(channel.unary_unary("/S/slow"), b"").startswith("ValueError: Cannot invoke RPC")
    server.stop(None).wait()
    dead = grpc.insecure_channel(address)
    channel = dead
    assert error("/S/slow", b"", timeout=LONG).code() is grpc.StatusCode.UNAVAILABLE
    dead.close()
            """,
            mode,
        )

    @pytest.mark.parametrize("single", [0, 1])
    def test_streams(self, mode: Mode, single: int) -> None:
        check(
            READY
            + """
    server, address = serve()
    options = [(grpc.experimental.ChannelOptions.SingleThreadedUnaryStream, int(sys.argv[1]))]
    with grpc.insecure_channel(address, options) as channel:
        call = channel.unary_stream("/S/count")
        assert ticks_during(lambda: [int(x) for x in call(b"20", timeout=LONG)]) == list(range(20))
        questions = queue.Queue()
        answers = channel.stream_stream("/S/echo")(iter(questions.get, None))
        for number in range(20):
            questions.put(b"x%d" % number)
            assert next(answers) == b"X%d" % number
        questions.put(None)
        assert list(answers) == [] and answers.code() is grpc.StatusCode.OK
        threads = [Thread(lambda: [int(x) for x in call(b"10", timeout=LONG)]) for _ in range(10)]
        assert all(thread.end() == list(range(10)) for thread in threads)
        stream = call(b"1000000")
        assert next(stream) == b"0"
        stream.cancel()
        try:
            for _ in stream: pass
            assert False
        except grpc.RpcError as exc:
            assert exc.code() is grpc.StatusCode.CANCELLED
    server.stop(None).wait()
            """,
            mode,
            single,
        )

    def test_interceptors_and_connectivity(self, mode: Mode) -> None:
        check(
            READY
            + """
    seen = []
    class OfServer(grpc.ServerInterceptor):
        def intercept_service(self, go_on, details):
            seen.append(("server", details.method))
            return go_on(details)
    class OfClient(grpc.UnaryUnaryClientInterceptor):
        def intercept_unary_unary(self, go_on, details, request):
            seen.append(("client", details.method))
            return go_on(details, request + b"!")
    server, address = serve([OfServer()])
    channel = grpc.insecure_channel(address)
    states = queue.Queue()
    channel.subscribe(states.put, try_to_connect=True)
    while states.get(timeout=LONG) is not grpc.ChannelConnectivity.READY: pass
    channel.unsubscribe(states.put)
    grpc.channel_ready_future(channel).result(LONG)
    intercepted = grpc.intercept_channel(channel, OfClient())
    assert intercepted.unary_unary("/S/slow")(b"a", timeout=LONG) == b"A!"
    assert intercepted.unary_unary("/S/slow").future(b"b").result(LONG) == b"B!"
    assert seen == [("client", "/S/slow"), ("server", "/S/slow")] * 2, seen
    channel.close()
    assert server.wait_for_termination(0.05)
    pending = server.stop(LONG)
    assert pending.wait(LONG) and not server.wait_for_termination(LONG)
            """,
            mode,
        )

    def test_health(self, mode: Mode) -> None:
        needs("grpc_health")
        check(
            """
    import grpc
    from concurrent import futures
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc
    server = grpc.server(futures.ThreadPoolExecutor(5))
    servicer = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    status = health_pb2.HealthCheckResponse
    servicer.set("it", status.SERVING)
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service="it")
    assert stub.Check(request, timeout=LONG).status == status.SERVING
    watch = stub.Watch(request)
    assert next(watch).status == status.SERVING
    servicer.set("it", status.NOT_SERVING)
    assert next(watch).status == status.NOT_SERVING
    watch.cancel()
    channel.close()
    server.stop(None).wait()
            """,
            mode,
        )

    def test_its_asyncio(self, mode: Mode) -> None:
        check(
            READY
            + """
    import asyncio
    server, address = serve()
    async def main():
        async with grpc.aio.insecure_channel(address) as channel:
            method = channel.unary_unary("/S/slow")
            assert await asyncio.gather(*(method(b"a") for _ in range(5))) == [b"A"] * 5
            assert [x async for x in channel.unary_stream("/S/count")(b"3")] == [b"0", b"1", b"2"]
    asyncio.run(main())
    server.stop(None).wait()
            """,
            mode,
        )

    def test_ctrl_c(self, mode: Mode) -> None:
        with running_python(
            """
            import signal, grpc
            from concurrent import futures
            signal.signal(signal.SIGINT, signal.default_int_handler)
            server = grpc.server(futures.ThreadPoolExecutor(4))
            def never(request, context):
                print("waiting", flush=True)
                while context.is_active():
                    time.sleep(0.01)
                print("told", flush=True)
            import time
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(
                "S", {"never": grpc.unary_unary_rpc_method_handler(never)}),))
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            channel = grpc.insecure_channel(f"127.0.0.1:{port}")
            try:
                channel.unary_unary("/S/never")(b"")
            except KeyboardInterrupt:
                print("interrupted", flush=True)
            channel.close()
            server.stop(None).wait()
            print("stopped", flush=True)
            """,
            greenify=mode,
        ) as child:
            assert child.readline() == "waiting"
            child.process.send_signal(signal.SIGINT)
            lines = [child.readline() for _ in range(3)]
            assert set(lines) == {"told", "interrupted", "stopped"}
            assert child.wait() == 0
