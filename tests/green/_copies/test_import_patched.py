"""`import_patched`: private copies of modules on cooperative twins, with nothing patched."""

from __future__ import annotations

from tests.support import run_python

# A server in the same OS thread answers only if the client lets it run.
SERVER = """
    import sys
    before = set(sys.modules)
    import greenify
    from greenify import import_patched, spawn

    http = import_patched("http.server")

    class Handler(http.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send_response(404 if "missing" in self.path else 200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *args):
            pass

    server = http.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    serving = spawn(server.serve_forever, 0.01)
    url = "http://127.0.0.1:%d/" % server.server_port

    def end():
        assert not greenify.changes()
        server.shutdown()
        server.server_close()
        serving.join()
"""


def run(program: str, timeout: float = 40) -> str:
    # The launcher would patch; -c with an indented text is dedented by `run_python`.
    return run_python(program, greenify=False, check=True, timeout=timeout).stdout


class TestClients:
    def test_urllib(self) -> None:
        run(
            SERVER
            + """
    import urllib.error, urllib.request
    request = import_patched("urllib.request")
    assert request is import_patched("urllib.request") is not urllib.request
    with request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"hello"
    try:
        request.urlopen(url + "missing", timeout=10)
    except urllib.error.HTTPError as exc:  # the ordinary class
        assert exc.code == 404
        exc.close()
    else:
        raise AssertionError
    end()
"""
        )

    def test_https(self) -> None:
        run(
            SERVER
            + """
    import trustme
    from greenify.green import ssl
    ca = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    mine = ssl.create_default_context()
    ca.configure_trust(mine)
    request = import_patched("urllib.request")
    with request.urlopen(f"https://localhost:{server.server_port}/", context=mine, timeout=10) as answer:
        assert answer.read() == b"hello"
    try:
        request.urlopen(f"https://localhost:{server.server_port}/", timeout=10)
    except request.URLError as exc:
        assert isinstance(exc.reason, ssl.SSLCertVerificationError)
    else:
        raise AssertionError("an unknown authority was trusted")
    end()
"""
        )

    def test_http_client(self) -> None:
        run(
            SERVER
            + """
    client = import_patched("http.client")
    assert import_patched("urllib.request").http.client is client
    connection = client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    for _ in range(2):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"hello"
    connection.close()
    import http.client
    assert client.HTTPConnection is not http.client.HTTPConnection
    assert client.BadStatusLine is http.client.BadStatusLine
    end()
"""
        )

    def test_requests_and_urllib3(self) -> None:
        run(
            SERVER
            + """
    requests = import_patched("requests")
    urllib3 = import_patched("urllib3")
    assert requests.adapters.PoolManager is urllib3.PoolManager
    with requests.Session() as session:
        for _ in range(3):
            answer = session.get(url, timeout=10)
            assert (answer.status_code, answer.text) == (200, "hello")
    with urllib3.PoolManager() as pool:
        assert pool.request("GET", url, timeout=10, retries=False).data == b"hello"
    try:
        requests.get("http://127.0.0.1:1/", timeout=10)
    except requests.ConnectionError:
        pass
    else:
        raise AssertionError
    names = {name.partition(".")[0] for name in set(sys.modules) - before}
    assert names.isdisjoint({"requests", "urllib3"}), names
    end()
"""
        )

    def test_xmlrpc(self) -> None:
        run(
            """
    from greenify import import_patched, spawn
    server = import_patched("xmlrpc.server").SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False)
    server.register_function(pow)
    with server:
        spawn(server.handle_request)
        port = server.server_address[1]
        client = import_patched("xmlrpc.client")
        with client.ServerProxy(f"http://127.0.0.1:{port}/") as proxy:
            assert proxy.pow(2, 10) == 1024
"""
        )

    def test_smtp_and_ftp(self) -> None:
        run(
            """
    import ftplib, smtplib
    from greenify import import_patched, spawn
    from greenify.green import socket

    def answer(listener, greeting, answers):
        with listener, listener.accept()[0] as connection, connection.makefile("rwb") as file:
            file.write(greeting)
            file.flush()
            for line in file:
                file.write(answers[line.split()[0].upper()])
                file.flush()

    def serve(greeting, answers):
        listener = socket.create_server(("127.0.0.1", 0))
        spawn(answer, listener, greeting, answers)
        return listener.getsockname()[1]

    ok, no = b"250 ok\\r\\n", b"550 no\\r\\n"
    answers = {b"EHLO": ok, b"NOOP": ok, b"RSET": ok, b"QUIT": b"221 bye\\r\\n", b"MAIL": no}
    port = serve(b"220 hello\\r\\n", answers)
    private = import_patched("smtplib")
    with private.SMTP("127.0.0.1", port, timeout=10) as smtp:
        assert smtp.noop()[0] == 250
        try:
            smtp.sendmail("a@localhost", "b@localhost", "text")
        except smtplib.SMTPSenderRefused as exc:
            assert exc.smtp_code == 550
        else:
            raise AssertionError
    port = serve(b"220 hello\\r\\n", {b"USER": b"331 who\\r\\n", b"PASS": b"530 no\\r\\n"})
    private = import_patched("ftplib")
    assert private.all_errors is ftplib.all_errors
    with private.FTP() as ftp:
        ftp.connect("127.0.0.1", port, timeout=10)
        try:
            ftp.login()
        except ftplib.all_errors as exc:
            assert type(exc) is ftplib.error_perm
        else:
            raise AssertionError
"""
        )

    def test_socketserver_and_executor(self) -> None:
        """Threads of a copy are greenlets, and so are the workers of its executors."""
        run(
            """
    import _thread
    from greenify import import_patched
    from greenify.green import socket, time
    native = _thread.get_ident()
    socketserver = import_patched("socketserver")

    class Echo(socketserver.StreamRequestHandler):
        def handle(self):
            assert _thread.get_ident() == native
            for line in self.rfile:
                self.wfile.write(line)

    futures = import_patched("concurrent.futures")
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        with futures.ThreadPoolExecutor(20) as pool:
            serving = pool.submit(server.serve_forever, 0.01)

            def call(number):
                with socket.create_connection(server.server_address) as sock, sock.makefile("rwb") as file:
                    file.write(b"%d\\n" % number)
                    file.flush()
                    return int(file.readline())

            assert list(pool.map(call, range(15))) == list(range(15))
            server.shutdown()
            serving.result()
"""
        )


class TestCopies:
    def test_nobody_else_notices(self) -> None:
        run(
            """
    import sys
    import http, urllib.error, urllib.parse
    modules = dict(sys.modules)
    attributes = {name: dict(vars(module)) for name, module in modules.items()}
    import greenify
    request = greenify.import_patched("urllib.request")
    for name, module in modules.items():
        assert sys.modules[name] is module
        for key, value in attributes[name].items():
            if type(vars(module)[key]).__name__ == "lazy_import":
                continue  # from CPython 3.15 on: the name `value` gives the module itself
            assert vars(module)[key] is value or key.startswith("__"), (name, key)
    import socket, time
    assert socket.socket.recv.__objclass__.__module__ == "_socket"
    assert not hasattr(urllib, "request") or urllib.request is not request
    assert request.sys.modules["urllib"] is not urllib is sys.modules["urllib"]
    # What does not wait is shared.
    assert request.unquote is urllib.parse.unquote and request.URLError is urllib.error.URLError
    assert request.http.HTTPStatus is http.HTTPStatus and request.http is not http
    assert request.sys is not sys and request.sys.modules["urllib.request"] is request
    request.sys.marker = 1
    assert sys.marker == 1
"""
        )

    def test_a_module_of_the_program(self) -> None:
        """With a package, relative and late imports, other names, and a module that is not touched."""
        run(
            """
    import os, sys, tempfile
    from pathlib import Path
    folder = tempfile.TemporaryDirectory()
    root = Path(folder.name)
    sources = {
        "own/__init__.py": "from . import pure\\nfrom .waiting import wait\\nVALUE = []\\n",
        "own/pure.py": "import os\\nNAME = __name__\\nhere = os.path.join('a', 'b')\\n",
        "own/waiting.py": "import time as clock\\ndef wait(s): clock.sleep(s)\\n",
        "own/late.py": "def get():\\n    from importlib import import_module\\n"
            "    return import_module('.waiting', __package__)\\n",
        "shared.py": "import os\\nfrom time import monotonic\\nVALUE = [os.getpid()]\\n",
        "user.py": "import shared, own.waiting, apart.deep\\nfrom apart import deep as again\\n",
        "apart/__init__.py": "STATE = object()\\n",
        "apart/deep.py": "from time import sleep\\nfrom . import STATE\\n",
        "broken.py": "import time\\ntime.sleep(0)\\nraise ZeroDivisionError\\n",
    }
    for name, text in sources.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    sys.path.insert(0, str(root))
    import greenify
    from greenify import import_patched
    import greenify.green.time
    own = import_patched("own")
    assert own.waiting.clock is greenify.green.time and own.pure.NAME == "own.pure"
    assert import_patched("own.late").get() is own.waiting
    assert not {"own", "own.pure", "own.waiting"} & sys.modules.keys()
    user = import_patched("user")
    import shared
    assert user.shared is shared and user.own is own
    import apart.deep
    # The package does not wait, one of its modules does.
    assert user.apart is not apart and user.apart.STATE is apart.STATE
    assert user.again is user.apart.deep is import_patched("apart.deep") is not apart.deep
    assert user.again.sleep is greenify.green.time.sleep
    for _ in range(2):
        try:
            import_patched("broken")
        except ZeroDivisionError:
            pass
        else:
            raise AssertionError
    errors = {
        "nosuch": "No module named 'nosuch'",
        "own.nosuch": "No module named 'own.nosuch'",
        "shared.nosuch": "'shared' is not a package",
        "math": "not written in Python",
        ".own": "relative",
    }
    for name, error in errors.items():
        try:
            import_patched(name)
        except ImportError as exc:
            assert error in str(exc), exc
        else:
            raise AssertionError(name)
    folder.cleanup()
"""
        )

    def test_from_many_threads_at_once(self) -> None:
        run(
            """
    import threading
    from greenify import import_patched, spawn
    names = ["urllib.request", "smtplib", "http.server", "xmlrpc.client"]
    found = []
    barrier = threading.Barrier(8)

    def load(number):
        barrier.wait()
        found.append({name: import_patched(name) for name in names[number % 4:] + names[:number % 4]})

    threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    tasks = [spawn(import_patched, name) for name in names * 2]
    for task in tasks: task.join()
    assert len(found) == 8
    for each in found:
        assert all(each[name] is found[0][name] for name in names)
    assert [task.result for task in tasks] == [found[0][name] for name in names * 2]
"""
        )

    def test_in_a_patched_process(self) -> None:
        """A copy works there as well, beside the patched module."""
        run(
            SERVER.replace(
                "import greenify\n", "import greenify\n    greenify.patch_all()\n", 1
            ).replace("assert not greenify.changes()", "pass")
            + """
    import urllib.request
    request = import_patched("urllib.request")
    for each in (request, urllib.request):
        with each.urlopen(url, timeout=10) as answer:
            assert answer.read() == b"hello"
    greenify.restore()
    with request.urlopen(url, timeout=10) as answer:
        assert answer.read() == b"hello"
    end()
"""
        )

    def test_an_environment_twin(self) -> None:
        """A module that has a twin of its own is that."""
        run(
            """
    from greenify import import_patched
    import greenify.green.socket, greenify.green.threading
    assert import_patched("socket") is greenify.green.socket
    assert import_patched("threading") is greenify.green.threading
"""
        )
