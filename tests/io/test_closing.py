"""Whatever is closed, collected, forked or used from elsewhere, and whenever: libuv never aborts."""

from __future__ import annotations

import contextlib
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from greenify import core
from greenify.errors import HubError, StreamClosedError
from greenify.io import PipeServer, Stream, TCPClient, TCPServer, UDPEndpoint
from greenify.task import Task, spawn
from tests.io.conftest import LONG, descriptors, join, settle, tcp_pair, until
from tests.support import run_python

Pair = tuple[Stream, Stream]
BIG = bytes(10_000_000)


def quiet(call: Callable[[], Any]) -> Task[Any]:
    """Start a task whose error nobody logs."""
    task: Task[Any] = Task(call)
    task._observer = lambda task: None
    task.start()
    return task


class TestClosing:
    @pytest.mark.parametrize("how", ["close", "abort"])
    def test_again_and_again(self, pair: Pair, how: str) -> None:
        left, right = pair
        for _ in range(3):
            getattr(left, how)()
            left.abort()
            left.close()
        settle()
        left.close()
        assert left.closed and left.fileno() == -1
        # The kernel resets a connection that is closed before everything from the peer has been read.
        with contextlib.suppress(ConnectionResetError):
            assert right.read() == b""

    @pytest.mark.parametrize("how", ["close", "abort"])
    def test_in_the_middle_of_everything(self, pair: Pair, how: str) -> None:
        left, right = pair
        tasks = [
            quiet(call)
            for call in (
                left.read,
                lambda: left.write(BIG),
                lambda: left.write(BIG),
                left.flush,
                left.shutdown,
                left.close if how == "close" else left.flush,
            )
        ]
        settle()
        reader = quiet(right.read_all)
        getattr(left, how)()
        for task in tasks:
            assert task.join(LONG)
        assert isinstance(tasks[0].exception, StreamClosedError)
        assert reader.join(LONG)

    def test_in_a_callback(self, pair: Pair) -> None:
        left, right = pair
        reader = quiet(left.read)
        settle()
        core.get_hub().call_soon(left.close)
        assert reader.join(LONG) and isinstance(reader.exception, StreamClosedError)
        assert right.read() == b""

    def test_while_connecting(self) -> None:
        from tests.io.test_cancelling import full_listener

        with full_listener() as listener:
            task = quiet(lambda: TCPClient(listener.getsockname()))
            settle()
            (transport,) = core.get_hub().loop.pinned.values()
            transport.close_now()  # type: ignore[attr-defined]
            assert task.join(LONG) and isinstance(task.exception, StreamClosedError)

    def test_servers_and_endpoints(self, path: str) -> None:
        makers: list[Callable[[], Any]] = [
            lambda: TCPServer(("127.0.0.1", 0)),
            lambda: PipeServer(path),
            lambda: UDPEndpoint(("127.0.0.1", 0)),
        ]
        for make in makers:
            with make() as opened:
                wait = opened.receive if isinstance(opened, UDPEndpoint) else opened.accept
                task = quiet(wait)
                settle()
                opened.close()
                opened.close()
                assert task.join(LONG) and isinstance(task.exception, StreamClosedError)
                assert opened.closed and opened.fileno() == -1
                with pytest.raises(StreamClosedError):
                    wait()
            assert "closed" in repr(opened)


class TestCollecting:
    def test_streams(self, pair: Pair) -> None:
        left, right = tcp_pair()
        with left:
            left.write(b"x")
            ref = weakref.ref(right)
            settle()
            with pytest.warns(ResourceWarning, match="unclosed <TCPStream TCP connection from"):
                del right
                gc.collect()
            assert ref() is None
            assert left.read() == b""

    def test_what_was_written_is_sent(self) -> None:
        left, right = tcp_pair(write_limit=len(BIG))
        with right:
            left.write(BIG)
            with pytest.warns(ResourceWarning, match="unclosed <TCPClient"):
                del left
                gc.collect()
            assert right.read_all() == BIG

    def test_servers_and_endpoints(self, path: str) -> None:
        for make in (
            lambda: TCPServer(("127.0.0.1", 0)),
            lambda: PipeServer(path),
            lambda: UDPEndpoint(("127.0.0.1", 0)),
        ):
            opened: Any = make()
            with pytest.warns(ResourceWarning, match="unclosed"):
                del opened
                gc.collect()

    def test_on_another_thread(self) -> None:
        left, right = tcp_pair()
        held = [right]
        del right
        found: list[BaseException] = []

        def collect() -> None:
            try:
                with pytest.warns(ResourceWarning, match="unclosed"):
                    held.clear()
                    gc.collect()
            except BaseException as exc:
                found.append(exc)

        thread = threading.Thread(target=collect)
        thread.start()
        with left:
            assert left.read() == b""
        thread.join(LONG)
        assert found == []

    def test_in_a_cycle_inside_a_callback(self) -> None:
        """The collector may run while libuv calls back."""
        left, right = tcp_pair()
        with left:
            cycle: list[Any] = [right]
            cycle.append(cycle)
            del right
            gc.disable()
            try:
                del cycle
                task = spawn(left.read)
                settle()

                arrived: list[bytes] = []

                class Buffer:
                    def append(self, data: bytes) -> None:
                        with pytest.warns(ResourceWarning, match="unclosed"):
                            gc.collect()
                        arrived.append(data)

                    def __len__(self) -> int:
                        return 0

                other, end = tcp_pair()
                with other, end:
                    real, other._transport.buffer = other._transport.buffer, Buffer()  # type: ignore[assignment]
                    end.write(b"x")
                    until(lambda: not task.alive)
                    other._transport.buffer = real
                assert join(task) == b"" and arrived == [b"x"]
            finally:
                gc.enable()


class TestThreads:
    def in_thread(self, call: Callable[[], Any]) -> Any:
        result: list[Any] = []

        def run() -> None:
            try:
                result.append(call())
            except BaseException as exc:
                result.append(exc)

        thread = threading.Thread(target=run)
        thread.start()
        thread.join(LONG)
        (found,) = result
        return found

    def test_use_from_another_one(self, pair: Pair) -> None:
        left, right = pair
        calls: list[Callable[[], Any]] = [
            left.read,
            left.read_all,
            left.flush,
            left.shutdown,
            lambda: left.write(b"x"),
            lambda: left.read_until(b"\n"),
        ]
        for call in calls:
            error = self.in_thread(call)
            assert isinstance(error, HubError) and "another OS thread" in str(error)
        right.write(b"works")
        assert left.read() == b"works"

    @pytest.mark.parametrize("how", ["close", "abort"])
    def test_closing_from_another_one(self, pair: Pair, how: str) -> None:
        left, right = pair
        reader = quiet(left.read)
        settle()
        assert self.in_thread(getattr(left, how)) is None
        assert reader.join(LONG) and isinstance(reader.exception, StreamClosedError)
        assert right.read() == b""

    def test_a_thread_of_its_own(self) -> None:
        """Both ends live in another OS thread, whose hub ends with it; what it left open is gone."""
        left: list[Any] = []

        def use() -> bytes:
            first, second = tcp_pair()
            first.write(b"x")
            result = second.read()
            left.extend([first, second])
            return result

        assert self.in_thread(use) == b"x"
        for stream in left:
            with pytest.raises(StreamClosedError):
                stream.read()
            stream.close()

    def test_accepting_in_another_one(self) -> None:
        with TCPServer(("127.0.0.1", 0)) as server:

            def serve() -> None:
                with server.accept(LONG) as stream:
                    stream.write(stream.read().upper())

            thread = threading.Thread(target=serve)
            thread.start()
            with TCPClient(server.address) as client:
                client.write(b"hello")
                assert client.read_all() == b"HELLO"
            thread.join(LONG)


class TestDescriptors:
    def test_not_inheritable(self, make_pair: Callable[..., Pair], path: str) -> None:
        import os

        left, right = make_pair()
        with left, right, PipeServer(path) as server, UDPEndpoint() as endpoint:
            for each in (left, right, server, endpoint):
                assert not os.get_inheritable(each.fileno())  # type: ignore[attr-defined]

    def test_refused_to_the_program(self) -> None:
        """Under the patch, closing by number spares what libuv watches."""
        run_python(
            """
            import errno, os
            from greenify.io import TCPClient, TCPServer
            with TCPServer(("127.0.0.1", 0)) as server:
                with TCPClient(server.address) as client, server.accept() as stream:
                    try:
                        os.close(stream.fileno())
                    except OSError as exc:
                        assert exc.errno == errno.EBADF
                    else:
                        raise AssertionError("closed")
                    os.closerange(stream.fileno(), stream.fileno() + 1)
                    client.write(b"x")
                    assert stream.read() == b"x"
                    number = stream.fileno()
            os.close(os.dup2(0, number))
            """,
            check=True,
        )

    @pytest.mark.parametrize("closed", [(0,), (0, 1, 2)])
    def test_standard_ones_closed(self, closed: tuple[int, ...]) -> None:
        """libuv never closes, or aborts over, a descriptor that has taken the place of a standard one."""
        run_python(
            f"""
            import os
            from greenify.io import *
            for number in {closed}:
                os.close(number)
            with TCPServer(("127.0.0.1", 0)) as server:
                client, stream = TCPClient(server.address), server.accept()
                with UDPEndpoint(("127.0.0.1", 0)) as one, UDPEndpoint(remote=one.address) as two:
                    two.send(b"x")
                    assert one.receive()[0] == b"x"
                    assert min(client.fileno(), stream.fileno(), one.fileno()) > 2
                client.close()
                assert stream.read() == b""
                stream.close()
            """,
            greenify=False,
            check=True,
        )


class TestFork:
    def test_child_gives_up_and_parent_goes_on(self) -> None:
        done = run_python(
            """
            import os
            from greenify.errors import StreamClosedError
            from greenify.io import *
            from greenify.task import spawn

            path = "\\0greenify-%d" % os.getpid()
            server = TCPServer(("127.0.0.1", 0))
            local = PipeServer(path)
            client, stream = TCPClient(server.address), server.accept()
            near, far = PipeClient(path), local.accept()
            endpoint = UDPEndpoint(("127.0.0.1", 0))
            reader = spawn(stream.read)
            writer = spawn(near.write, bytes(5_000_000))
            import greenify
            greenify.sleep(0.01)
            before = {os.readlink(f"/proc/self/fd/{each.fileno()}") for each in (client, stream, near, far)}
            pid = os.fork()
            if pid == 0:
                try:
                    names = set()
                    for number in os.listdir("/proc/self/fd"):
                        try:
                            names.add(os.readlink(f"/proc/self/fd/{number}"))
                        except OSError:
                            pass  # the listing's own
                    assert not names & before, "the child has kept them"
                    for call in (client.read, lambda: near.write(b"x"), stream.flush, endpoint.receive):
                        try:
                            call()
                        except StreamClosedError:
                            pass
                        else:
                            raise AssertionError(call)
                    for each in (client, stream, near, far, endpoint):
                        assert each.closed
                        each.close()
                    # The listening socket is a file like any other.
                    greenify.sleep(0)
                    with TCPClient(server.address) as mine, TCPServer(("127.0.0.1", 0)) as own:
                        mine.write(b"from the child")
                        mine.shutdown()
                    status = 0
                except BaseException:
                    import traceback
                    traceback.print_exc()
                    status = 1
                os._exit(status)
            with server.accept(20) as third:
                assert third.read_all() == b"from the child"
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            client.write(b"parent")
            reader.join(20)
            assert reader.result == b"parent"
            assert len(far.read_bytes(5_000_000)) == 5_000_000
            writer.join(20)
            for each in (client, stream, near, far, server, local, endpoint):
                each.close()
            """,
            greenify=False,
            check=True,
        )
        assert done.stderr == ""

    def test_file_of_a_server_stays(self, path: str) -> None:
        run_python(
            f"""
            import os
            from greenify.io import PipeClient, PipeServer
            with PipeServer({path!r}) as server:
                if os.fork() == 0:
                    server.close()
                    os._exit(0)
                os.wait()
                with PipeClient({path!r}), server.accept():
                    pass
            assert not os.path.exists({path!r})
            """,
            greenify=False,
            check=True,
        )


@pytest.mark.parametrize("patched", [False, True], ids=["unpatched", "patched"])
@pytest.mark.parametrize("kept", ["globals", "module", "cycle", "task"])
def test_end_of_the_interpreter(patched: bool, kept: str) -> None:
    """Open streams in every state do not crash the end."""
    done = run_python(
        f"""
        import sys, warnings
        warnings.simplefilter("ignore", ResourceWarning)
        import greenify
        from greenify.io import *
        from greenify.task import spawn

        def make():
            server = TCPServer(("127.0.0.1", 0))
            pairs = []
            for _ in range(4):
                pairs.append((TCPClient(server.address), server.accept()))
            spawn(pairs[0][0].read)
            spawn(pairs[1][0].write, bytes(5_000_000))
            pairs[2][1].write(bytes(400_000))
            endpoint = UDPEndpoint()
            spawn(endpoint.receive)
            spawn(server.accept)
            greenify.sleep(0.01)
            return server, pairs, endpoint

        made = make()
        if {kept!r} == "module":
            sys.made = made
            del made
        elif {kept!r} == "cycle":
            made = [made]
            made.append(made)
        elif {kept!r} == "task":
            spawn(lambda made: greenify.sleep(1000), made)
            del made
            greenify.sleep(0)
        print("end of main")
        """,
        greenify=patched,
        check=True,
    )
    assert done.stdout == "end of main\n" and done.stderr == ""


def test_descriptors_of_a_thread_that_has_ended() -> None:
    before = descriptors()
    held: list[Any] = []
    thread = threading.Thread(target=lambda: held.append(tcp_pair()))
    thread.start()
    thread.join(LONG)
    until(lambda: descriptors() == before)
