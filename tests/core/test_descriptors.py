"""Waiting on descriptors: every kind of file, every kind of news, several waiters, nothing left behind."""

from __future__ import annotations

import pytest

from tests.core.run import run


@pytest.mark.smoke
def test_readers_and_writers_of_one_descriptor() -> None:
    # A second libuv Poll on one descriptor aborts the process.
    run("""
        import os
        from engine_child import *

        left, right = socket_pair()
        size = fill(left)
        readers = [spawn(core.wait, left, False, later(10)) for _ in range(3)]
        writers = [spawn(core.wait, left, True, later(10)) for _ in range(3)]
        settle()
        assert not any(job.ended for job in readers + writers)
        while size:
            size -= len(os.read(right, size))
        assert [job.join(10) for job in writers] == [True] * 3
        assert not any(job.ended for job in readers)
        os.write(right, b"x")
        assert [job.join(10) for job in readers] == [True] * 3
        assert list(core.get_hub().descriptors.by_fd) == [core.get_hub().pair.reader.fileno()]
    """)


def test_a_state_that_was_there_before_the_wait() -> None:
    run("""
        import os
        from engine_child import *

        left, right = socket_pair()
        os.write(right, b"x")
        for _ in range(3):
            # Nothing is read: each wait has to see the same byte, edge-triggered queue or not.
            assert core.wait(left, False, later(10))
            assert core.wait(left, True, later(10))
        first = spawn(core.wait, left, False, later(10))
        second = spawn(core.wait, left, False, later(10))
        assert first.join(10) and second.join(10)
        os.read(left, 1)
        assert core.wait(left, False, later(0.01)) is False
    """)


def test_files_that_never_block() -> None:
    # libuv refuses to poll these.
    run("""
        import os, sys, tempfile
        from engine_child import *

        for path in (sys.executable, os.devnull, "/dev/zero"):
            fd = os.open(path, os.O_RDWR if path.startswith("/dev") else os.O_RDONLY)
            for _ in range(3):
                assert core.wait(fd, False) is True
                assert core.wait(fd, True) is True
            os.close(fd)
        with tempfile.TemporaryFile() as file:
            assert core.wait(file.fileno(), True) is True
        assert len(core.get_hub().descriptors.by_fd) == 1
        still_works()
    """)


def test_flags_stay_as_they_are() -> None:
    # pyuv.Poll sets O_NONBLOCK.
    run("""
        import os
        from engine_child import *

        reader, writer = os.pipe()
        assert core.wait(reader, False, later(0.01)) is False
        os.write(writer, b"x")
        assert core.wait(reader, False, later(10)) is True
        assert os.get_blocking(reader) and os.get_blocking(writer)
    """)


def test_not_open() -> None:
    run("""
        from engine_child import *

        before = open_files()
        for writing in (False, True):
            assert outcome(core.wait, 999, writing, later(10)) == "EBADF"
        core.forget(999)
        core.get_hub()
        assert outcome(core.wait, 999, False) == "EBADF"
        assert len(core.get_hub().descriptors.by_fd) == 1
        still_works()
    """)


def test_refused_connection_wakes_readers_and_writers() -> None:
    run("""
        import socket
        from engine_child import *

        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        with taken, socket.socket() as sock:
            sock.setblocking(False)
            assert sock.connect_ex(taken.getsockname()) != 0
            jobs = [spawn(core.wait, sock.fileno(), w, later(10)) for w in (False, True, False, True)]
            assert [job.join(10) for job in jobs] == [True] * 4
    """)


def test_broken_pipe_wakes_writers() -> None:
    run("""
        import os
        from engine_child import *

        for make in (pipe, socket_pair):
            near, far = make()
            if make is pipe:
                near, far = far, near
            fill(near)
            jobs = [spawn(core.wait, near, True, later(10)) for _ in range(2)]
            settle()
            assert not any(job.ended for job in jobs)
            os.close(far)
            assert [job.join(10) for job in jobs] == [True] * 2
            os.close(near)
    """)


def test_end_of_file_wakes_readers() -> None:
    run("""
        import os, socket
        from engine_child import *

        for make in (pipe, socket_pair):
            reader, writer = make()
            jobs = [spawn(core.wait, reader, False, later(10)) for _ in range(2)]
            settle()
            os.close(writer)
            assert [job.join(10) for job in jobs] == [True] * 2
            assert os.read(reader, 1) == b""
        # Half closed: the other direction goes on.
        a, b = socket.socketpair()
        with a, b:
            job = spawn(core.wait, a.fileno(), False, later(10))
            settle()
            b.shutdown(socket.SHUT_WR)
            assert job.join(10)
            assert core.wait(a.fileno(), True, later(10))
    """)


def test_urgent_data_wakes_readers() -> None:
    run("""
        import socket
        from engine_child import *

        with socket.create_server(("127.0.0.1", 0)) as server:
            with socket.create_connection(server.getsockname()) as near, server.accept()[0] as far:
                job = spawn(core.wait, near.fileno(), False, later(10))
                settle()
                assert not job.ended
                far.send(b"!", socket.MSG_OOB)
                assert job.join(10) is True
                assert near.recv(1, socket.MSG_OOB) == b"!"
    """)


def test_same_number_other_file() -> None:
    # The number is reused while nobody waits: the registration of the old file must not be believed.
    run("""
        import os
        from engine_child import *

        hub = core.get_hub()
        for _ in range(50):
            left, right = socket_pair()
            owned = hub.descriptors.attach(left, False)
            os.write(right, b"x")
            core.sleep(0)
            os.close(left)
            os.close(right)
            reader, writer = pipe()
            assert reader == left
            job = spawn(core.wait, reader, False, later(10))
            settle()
            assert not job.ended
            os.write(writer, b"x")
            assert job.join(10) is True
            os.close(reader), os.close(writer)
        still_works()
        # A wait by number takes its registration away again, whoever had the number before.
        assert list(hub.descriptors.by_fd) == [hub.pair.reader.fileno()]
    """)


def test_want_write_after_an_unseen_close() -> None:
    run("""
        import os
        from engine_child import *

        hub = core.get_hub()
        left, right = socket_pair()
        descriptor = hub.descriptors.attach(left, False)
        os.close(left)
        assert outcome(hub.descriptors.want_write, descriptor) == "EBADF"
        assert os.dup(right) == left
        hub.descriptors.want_write(descriptor)
        assert descriptor.write.wait(later(10)) is True
        still_works()
    """)


def test_close_while_a_forked_child_has_the_file_open() -> None:
    # The kernel then keeps the registration, and goes on to report events under the closed number.
    run("""
        import os, signal
        from engine_child import *

        hub = core.get_hub()
        for forget in (True, False):
            left, right = socket_pair()
            job = spawn(outcome, core.wait, left, False, later(0.2))
            settle()
            pid = os.fork()
            if pid == 0:
                signal.pause()
            if forget:
                core.forget(left)
            os.close(left)
            os.write(right, b"x")
            result = job.join(10)
            assert result == "EBADF" if forget else result in (True, False, "EBADF"), result
            reader, writer = pipe()
            assert reader == left
            job = spawn(core.wait, reader, False, later(10))
            for _ in range(20):
                os.write(right, b"x")
                settle()
            os.write(writer, b"x")
            assert job.join(10) is True
            for fd in (reader, writer, right):
                core.forget(fd)
                os.close(fd)
            still_works()
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        # Whatever events the dead registrations gave: the hub sleeps again.
        core.sleep(0.05)
        before = time.process_time()
        core.sleep(0.3)
        assert time.process_time() - before < 0.1
    """)


def test_forget_from_another_thread() -> None:
    run("""
        import _thread, os
        from engine_child import *

        hub = core.get_hub()
        for _ in range(200):
            left, right = socket_pair()
            jobs = [spawn(outcome, core.wait, left, writing) for writing in (False, False)]
            owned = spawn(hub.descriptors.attach(left, False).write.wait)
            settle()

            closed = core.new_waiter()

            def close():
                core.forget(left)
                os.close(left)
                closed.wake()

            _thread.start_new_thread(close, ())
            closed.wait()
            assert [job.join(10) for job in jobs] == ["EBADF"] * 2
            owned.join(10)
            os.close(right)
        assert list(hub.descriptors.by_fd) == [hub.pair.reader.fileno()]
        still_works()
    """)


def test_deadline_of_a_closed_descriptor_is_forgotten() -> None:
    run("""
        import _thread, os
        from engine_child import *

        hub = core.get_hub()
        for foreign in (False, True):
            for waiting in (False, True):
                left, right = socket_pair()
                side = hub.descriptors.attach(left, False).read
                if waiting:
                    job = spawn(side.wait, later(1000))
                    settle()
                else:
                    os.write(right, b"x")
                    assert side.wait(later(1000))
                assert hub.timers.pending() == 1
                if foreign:
                    gone = core.new_waiter()
                    _thread.start_new_thread(lambda: (core.forget(left), gone.wake()), ())
                    gone.wait(later(10))
                else:
                    core.forget(left)
                if waiting:
                    job.join(10)
                settle()
                assert hub.timers.pending() == 0, (foreign, waiting)
                os.close(left), os.close(right)
    """)


class TestEdges:
    """The kernel reports a change once: an edge that was taken and not used has to be remembered."""

    def test_wait_is_broken_off_after_the_edge_has_come(self) -> None:
        run("""
            import os
            from engine_child import *
            from greenify.core.entries import Throw

            class Stop(Exception):
                pass

            hub = core.get_hub()
            for beside in (False, True):
                left, right = socket_pair()
                side = hub.descriptors.attach(left, False).read
                core.sleep(0)
                side.edge = False
                if beside:
                    other = spawn(outcome, side.wait, later(1000))
                    settle()
                job = spawn(side.wait)
                settle()
                os.write(right, b"x")
                hub.look()
                hub.ready.appendleft(Throw(job.greenlet, Stop()))
                try:
                    job.join(10)
                except Stop:
                    pass
                else:
                    raise AssertionError("not stopped")
                assert side.wait(later(1)) is True, beside
        """)

    def test_wait_by_number_beside_an_owner(self) -> None:
        run("""
            import os
            from engine_child import *

            hub = core.get_hub()
            left, right = socket_pair()
            side = hub.descriptors.attach(left, False).read
            core.sleep(0)
            side.edge = False
            os.write(right, b"x")
            assert core.wait(left, False, later(10)) is True
            # The owner has not seen that byte.
            assert side.wait(later(1)) is True
            assert left in hub.descriptors.by_fd
        """)

    def test_timeout_then_edge(self) -> None:
        run("""
            import os
            from engine_child import *

            hub = core.get_hub()
            left, right = socket_pair()
            side = hub.descriptors.attach(left, False).read
            for _ in range(100):
                assert side.wait(later(0.001)) is False
            os.write(right, b"x")
            core.sleep(0.01)
            assert side.wait(later(1)) is True
        """)


def test_private_descriptors_of_a_hub() -> None:
    # `os.closerange` spares them, so they have to be all there are.
    run("""
        import _thread, os
        from engine_child import *

        def numbers():
            found = set(map(int, os.listdir("/proc/self/fd")))
            return {fd for fd in found if os.path.exists(f"/proc/self/fd/{fd}")}

        start = numbers()
        assert 0 in start
        for thread in range(3):
            before = numbers()
            while thread and before - start > core.get_hub().private_fds:
                # The last thread has not quite ended.
                before = numbers()
            checked = _thread.allocate_lock()
            checked.acquire()
            results = []
            def check():
                results.append((numbers() - before, core.get_hub().private_fds, numbers() - before))
                checked.release()
            if thread:
                _thread.start_new_thread(check, ())
                checked.acquire()
            else:
                check()
            assert results[0][0] == set()
            assert results[0][1] == results[0][2] and len(results[0][1]) == (7 if thread else 9), results
    """)
