"""A listening socket stays what it was: other processes that have it accept as with threads."""

from __future__ import annotations

from tests.green.programs import both_modes, run, same_output
from tests.support import Mode


class TestFlag:
    @both_modes
    def test_is_clear_before_during_and_after(self, mode: Mode) -> None:
        run(
            """
            for server in (socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)):
                if server.family == socket.AF_UNIX:
                    server.bind("")
                    server.listen()
                clients = []
                for _ in range(3):
                    thread = Thread(server.accept)
                    settle()
                    assert os.get_blocking(server.fileno())
                    client = socket.socket(server.family)
                    client.connect(server.getsockname())
                    connection, _ = thread.end()
                    assert os.get_blocking(server.fileno()) and os.get_blocking(connection.fileno())
                    assert connection.gettimeout() is None
                    clients += [client, connection]
                for each in clients:
                    each.close()
                server.close()
            """,
            mode,
        )

    @both_modes
    def test_plain_program_inherits_a_listener_that_has_accepted(self, mode: Mode) -> None:
        run(
            """
            import subprocess

            CHILD = '''
            import socket, sys
            server = socket.socket(fileno=int(sys.argv[1]))
            print("here", flush=True)
            connection, _ = server.accept()
            connection.sendall(b"from the child")
            '''
            server = socket.create_server(("127.0.0.1", 0))
            address = server.getsockname()
            with socket.create_connection(address), server.accept()[0]:
                pass
            number = server.fileno()
            command = [sys.executable, "-c", "\\n".join(map(str.strip, CHILD.splitlines())), str(number)]
            with subprocess.Popen(command, pass_fds=[number], stdout=subprocess.PIPE) as child:
                assert child.stdout.readline() == b"here\\n"
                with socket.create_connection(address, timeout=LONG) as client:
                    assert client.recv(100) == b"from the child"
            assert child.returncode == 0
            server.close()
            """,
            mode,
        )

    def test_set_by_somebody_else(self) -> None:
        output = same_output(
            """
            server = socket.create_server(("127.0.0.1", 0))
            os.set_blocking(server.fileno(), False)
            print(outcome(server.accept), server.gettimeout())
            client = socket.create_connection(server.getsockname())
            select.select([server], [], [])
            connection, _ = server.accept()
            print(os.get_blocking(server.fileno()), connection.gettimeout())
            print(outcome(server.accept))
            os.set_blocking(server.fileno(), True)
            thread = Thread(server.accept)
            settle()
            other = socket.create_connection(server.getsockname())
            accepted, _ = thread.end()
            for each in (server, client, connection, other, accepted):
                each.close()
            """
        )
        assert output.count("BlockingIOError") == 2

    def test_with_a_time_out_it_is_set(self) -> None:
        same_output(
            """
            server = socket.create_server(("127.0.0.1", 0))
            server.settimeout(LONG)
            client = socket.create_connection(server.getsockname())
            connection, _ = server.accept()
            print(os.get_blocking(server.fileno()), connection.gettimeout())
            server.settimeout(0.01)
            print(outcome(server.accept))
            for each in (server, client, connection):
                each.close()
            """
        )


def test_what_cannot_accept() -> None:
    same_output(
        """
        left, right = socket.socketpair()
        listened = socket.create_server(("127.0.0.1", 0))
        listened.shutdown(socket.SHUT_RDWR)
        closed = socket.socket()
        closed.close()
        for each in (socket.socket(), socket.socket(type=socket.SOCK_DGRAM), left, listened, closed):
            print(outcome(each.accept))
            each.close()
        right.close()
        """
    )


class TestWorkers:
    @both_modes
    def test_forked_workers_take_turns(self, mode: Mode) -> None:
        # A worker that blocks in accept, because another one has been faster, would not hear of the end.
        run(
            """
            server = socket.create_server(("127.0.0.1", 0), backlog=100)
            address = server.getsockname()

            def serve():
                while True:
                    connection, _ = server.accept()
                    connection.sendall(b"%d" % os.getpid())
                    connection.close()

            ends = []
            for _ in range(4):
                reader, writer = os.pipe()
                pid = os.fork()
                if not pid:
                    for _, other in ends:
                        os.close(other)
                    os.close(writer)
                    for _ in range(2):
                        Thread(serve)
                    os.read(reader, 1)
                    os._exit(7)
                os.close(reader)
                ends.append((pid, writer))

            def ask(count):
                for _ in range(count):
                    with socket.create_connection(address) as client:
                        assert int(client.recv(100)) in pids

            pids = [pid for pid, _ in ends]
            for thread in [Thread(ask, 60) for _ in range(6)]:
                thread.end()
            for pid, writer in ends:
                os.close(writer)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
            assert os.get_blocking(server.fileno())
            server.close()
            """,
            mode,
        )

    def test_one_that_is_stopped_while_it_accepts_holds_up_nobody_else(self) -> None:
        run(
            """
            from greenify.green._sockets.accepting import _BYTE, _TAKE
            import fcntl

            server = socket.create_server(("127.0.0.1", 0))
            told, tell = os.pipe()
            done, finish = os.pipe()
            pid = os.fork()
            if not pid:
                fcntl.lockf(server.fileno(), _TAKE, *_BYTE)
                os.write(tell, b"x")
                os.read(done, 1)
                os._exit(0)
            os.read(told, 1)
            client = socket.create_connection(server.getsockname())
            thread = Thread(server.accept)
            settle()
            # The others run meanwhile.
            left, right = socket.socketpair()
            left.send(b"x")
            assert right.recv(1) == b"x" and thread.is_alive()
            os.write(finish, b"x")
            connection, _ = thread.end()
            os.waitpid(pid, 0)
            for each in (server, client, connection, left, right):
                each.close()
            """,
            "patch_all",
        )

    def test_native_threads_beside_it(self) -> None:
        run(
            """
            import greenify

            native = greenify.original("threading")
            server = socket.create_server(("127.0.0.1", 0), backlog=50)
            address = server.getsockname()
            stop = []

            def serve():
                while True:
                    connection, _ = server.accept()
                    with connection:
                        if connection.recv(1) == b"q":
                            return
                        connection.sendall(b"x")

            others = [native.Thread(target=serve, daemon=True) for _ in range(2)]
            for each in others:
                each.start()
            threads = [Thread(serve) for _ in range(2)]

            def ask(letter):
                with socket.create_connection(address) as client:
                    client.sendall(letter)
                    return client.recv(1)

            for _ in range(100):
                assert ask(b"a") == b"x"
            for _ in range(4):
                assert ask(b"q") == b""
            for thread in threads:
                thread.end()
            for each in others:
                each.join(LONG)
                assert not each.is_alive()
            server.close()
            """,
            "patch_all",
        )
