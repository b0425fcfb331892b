"""1. Late patching: what was imported and made before ``patch_all()`` works after it."""

from __future__ import annotations

import textwrap

from tests.behaviours.scenario import PRELUDE
from tests.support import run_python

# A scenario calls `patch()` somewhere in its middle.  With real threads that does nothing.
PATCH = """
import sys
def patch():
    if sys.argv[1] == "greenify":
        import greenify
        greenify.patch_all()

class Together:
    "Threads that can only pass together: none of their waits may stop the others."
    def __init__(self, count, function):
        self.calls = [Call(function, number) for number in range(count)]
    def results(self):
        return [call.result() for call in self.calls]
"""


def run(code: str, *, warns: str | None = None) -> None:
    """`code` with real threads, and with a late patch; a warning fails it, or is the one of `warns`."""
    program = PRELUDE + PATCH + textwrap.dedent(code)
    natively = run_python(program, "threads", greenify=False, check=True)
    assert natively.stderr == ""
    if warns is not None:
        program = program.replace("import sys\n", "import sys, warnings\n" + _SHOW, 1)
    late = run_python(program, "greenify", greenify=False, check=True)
    if warns is None:
        assert late.stderr == ""
    else:
        assert late.stderr.count("LatePatchWarning") == 1, late.stderr
        assert warns in late.stderr, late.stderr
    assert late.stdout == natively.stdout


_SHOW = "warnings.resetwarnings(); warnings.simplefilter('default')\n"


class TestReferences:
    def test_functions_taken_before(self) -> None:
        """``from ... import``, class attributes, defaults, partials, containers."""
        run(
            """
            from functools import partial
            from select import select
            from socket import create_connection, create_server, socketpair
            from time import sleep
            import time
            class Clock:
                wait = staticmethod(time.sleep)
            def nap(seconds, sleep=time.sleep):
                sleep(seconds)
            naps = {"partial": partial(time.sleep, 0.05)}
            patch()
            start = time.monotonic()
            def work(number):
                sleep(0.05), nap(0.05), Clock.wait(0.05), naps["partial"]()
            Together(50, work).results()
            # One after the other they would take ten seconds.
            assert time.monotonic() - start < 8
            one, other = socketpair()
            selecting = Call(select, [one], [], [], 30)
            other.send(b"x")
            assert selecting.result() == ([one], [], [])
            one.close(), other.close()
            """
        )

    def test_modules_that_were_imported(self) -> None:
        run(
            """
            import http.client, http.server, logging, queue, selectors, socketserver, ssl, subprocess, urllib.request
            from concurrent.futures import ThreadPoolExecutor
            from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
            gate = threading.Barrier(10)
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self):
                    gate.wait(30)  # answers only when ten have asked
                    self.send_response(200)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")
                def log_message(self, *args):
                    pass
            patch()
            with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
                serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
                serving.start()
                url = "http://127.0.0.1:%d/" % server.server_port
                opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
                def get(number):
                    with opener.open(url, timeout=30) as answer:
                        return answer.read()
                with ThreadPoolExecutor(10) as pool:
                    assert list(pool.map(get, range(10))) == [b"ok"] * 10
                server.shutdown()
                serving.join()
            """
        )


class TestRequests:
    def test_session_made_before(self) -> None:
        """Ten threads share one Session; the server answers when all ten have asked."""
        run(
            """
            import requests
            from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
            from requests.adapters import HTTPAdapter
            session = requests.Session()
            session.trust_env = False
            session.mount("http://", HTTPAdapter(pool_maxsize=10))
            gate = threading.Barrier(10)
            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"
                def do_GET(self):
                    if self.path == "/together":
                        gate.wait(30)
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(self.path)))
                    self.end_headers()
                    self.wfile.write(self.path.encode())
                def log_message(self, *args):
                    pass
            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads = True
            url = "http://127.0.0.1:%d" % server.server_port
            patch()
            serving = Call(server.serve_forever, 0.01)
            # A connection from the pool, used again.
            assert session.get(url + "/first", timeout=30).text == "/first"
            assert Together(10, lambda n: session.get(url + "/together", timeout=30).text).results() == ["/together"] * 10
            session.close()
            server.shutdown()
            serving.result()
            server.server_close()
            """
        )


class TestTls:
    def test_context_made_before(self) -> None:
        """Options may be changed afterwards (a recursion without end in other layers), and connections work."""
        run(
            """
            import os, socket, ssl, tempfile, trustme
            authority = trustme.CA()
            context, client_context = ssl.create_default_context(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            class Mine(ssl.SSLContext):
                pass
            mine = Mine(ssl.PROTOCOL_TLS_CLIENT)
            patch()
            for each in (context, client_context, server_context, mine, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
                each.options |= ssl.OP_NO_COMPRESSION
                each.minimum_version = ssl.TLSVersion.TLSv1_2
                each.verify_flags |= ssl.VERIFY_X509_STRICT
                each.verify_mode = each.verify_mode
                assert each.options & ssl.OP_NO_COMPRESSION
            for each in (context, client_context, mine):
                authority.configure_trust(each)
            authority.issue_cert("localhost").configure_cert(server_context)
            server_context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            def serve(number):
                connection, _ = listener.accept()
                with server_context.wrap_socket(connection, server_side=True) as secure:
                    secure.sendall(secure.recv(100).upper())
            def ask(number):
                each = (context, client_context, mine)[number % 3]
                each.verify_flags &= ~ssl.VERIFY_X509_STRICT
                with socket.create_connection(listener.getsockname()) as plain, \\
                        each.wrap_socket(plain, server_hostname="localhost") as secure:
                    secure.sendall(b"hello")
                    return secure.recv(100)
            with socket.create_server(("127.0.0.1", 0)) as listener:
                servers = Together(6, serve)
                assert Together(6, ask).results() == [b"HELLO"] * 6
                servers.results()
            """
        )


class TestObjects:
    def test_locks_conditions_queues_and_loggers(self) -> None:
        run(
            """
            import logging, queue, time
            lock, rlock, condition, event = threading.Lock(), threading.RLock(), threading.Condition(), threading.Event()
            semaphore, barrier = threading.Semaphore(0), threading.Barrier(3)
            held, held_rlock = threading.Lock(), threading.RLock()
            fifo, simple, bounded = queue.Queue(), queue.SimpleQueue(), queue.Queue(1)
            local = threading.local()
            class Account:
                def __init__(self):
                    self.lock, self.rlock, self.items = threading.Lock(), threading.RLock(), queue.Queue()
            account = Account()
            logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.INFO)
            log = logging.getLogger("before")
            fifo.put("made before"), simple.put("made before")
            held.acquire(), held_rlock.acquire()
            local.value = "main"
            patch()
            # Their state is what it was.
            assert held.locked() and not held.acquire(False) and not lock.locked()
            assert (fifo.get(), simple.get()) == ("made before", "made before")
            assert Call(held_rlock.acquire, False).result() is False
            assert local.value == "main" and not Call(hasattr, local, "value").result()
            held_rlock.release()
            assert Call(held_rlock.acquire, False).result() is True

            # Each wait lets the others run: who waits is released by a thread that starts later.
            def check(wait, wake):
                inside = threading.Event()
                def waiting():
                    inside.set()
                    return wait()
                call = Call(waiting)
                inside.wait()
                Call(wake).result()
                call.result()
            def in_condition():
                with condition:
                    assert condition.wait_for(lambda: woken, 30)
            def wake_condition():
                with condition:
                    woken.append(1)
                    condition.notify_all()
            woken = []
            check(held.acquire, held.release)
            check(in_condition, wake_condition)
            check(event.wait, event.set)
            check(semaphore.acquire, semaphore.release)
            check(lambda: barrier.wait(30), lambda: (Call(barrier.wait, 30), barrier.wait(30)))
            check(fifo.get, lambda: fifo.put(1))
            check(simple.get, lambda: simple.put(1))
            check(account.items.get, lambda: account.items.put(1))
            bounded.put(1)
            check(lambda: bounded.put(2), bounded.get)
            check(account.lock.acquire, lambda: None)
            account.lock.release()

            def count(number):
                for _ in range(100):
                    with lock, rlock, rlock, account.rlock:
                        totals[0] += 1
                        time.sleep(0) if number % 2 else None
            totals = [0]
            Together(10, count).results()
            assert totals == [1000]
            handler = logging.getLogger().handlers[0]
            with handler.lock:
                logging_call = Call(log.info, "logged")
                assert Call(lambda: "others run").result()
            logging_call.result()
            """
        )

    def test_sockets_and_selectors(self) -> None:
        run(
            """
            import select, selectors, socket
            one, other = socket.socketpair()
            listener = socket.create_server(("127.0.0.1", 0))
            selector, epoll = selectors.DefaultSelector(), select.epoll()
            epoll.register(one, select.EPOLLIN)
            selector.register(one, selectors.EVENT_READ)
            stream = other.makefile("rb")
            patch()
            calls = [Call(one.recv, 5), Call(listener.accept), Call(stream.readline)]
            client = socket.create_connection(listener.getsockname())
            calls[1].result()[0].close()
            one.sendall(b"line\\n")
            assert calls[2].result() == b"line\\n"
            other.sendall(b"hello")
            assert calls[0].result() == b"hello"
            waits = [Call(epoll.poll, 30), Call(selector.select, 30)]
            other.sendall(b"x")
            assert [len(call.result()) for call in waits] == [1, 1]
            for each in (one, other, listener, client, stream, selector, epoll):
                each.close()
            """
        )

    def test_threads_that_run_already(self) -> None:
        """They stay native and go on; they meet the new ones at locks and queues, and can be joined."""
        run(
            """
            import queue
            requests, answers = queue.Queue(), queue.Queue()
            def serve():
                for request in iter(requests.get, None):
                    answers.put(request + 1)
            server = threading.Thread(target=serve)
            quick = threading.Thread(target=int)
            quick.start()
            quick.join()
            patch()
            server.start()
            requests.put(1)
            assert answers.get(timeout=30) == 2
            requests.put(None)
            server.join()
            assert not server.is_alive() and not quick.is_alive()
            """
        )


class TestWarning:
    def test_what_cannot_be_reached_is_named_once(self) -> None:
        """C code does not tell what a poll object waits for: those stay native, and all are said to."""
        run(
            """
            import select
            class Server:
                poll = select.poll()
            mine = select.poll()
            patch()
            assert mine.poll(0) == [] and Server.poll.poll(0) == []
            """,
            warns="__main__.mine",
        )
