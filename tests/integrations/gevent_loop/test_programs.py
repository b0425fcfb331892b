"""Real programs of gevent's world."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.integrations.gevent_loop import ENV, run_gevent
from tests.support import running_python

SERVER = """
    from gevent import monkey; monkey.patch_all()
    import gevent
    from gevent.pywsgi import WSGIServer
    def app(environ, start_response):
        if environ['PATH_INFO'] == '/slow':
            gevent.sleep(0.5)
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'path ' + environ['PATH_INFO'].encode()]
    server = WSGIServer(('127.0.0.1', 0), app, log=None)
    server.start()
    print(server.server_port, flush=True)
    server.serve_forever()
"""


def test_grequests() -> None:
    with running_python(SERVER, greenify=False, env=ENV) as server:
        port = server.readline()
        result = run_gevent(
            """
            import warnings; warnings.simplefilter('ignore', DeprecationWarning)
            import grequests, sys, time
            url = 'http://127.0.0.1:%s/' % sys.argv[1]
            begun = time.monotonic()
            answers = grequests.map([grequests.get(url + 'slow') for _ in range(20)])
            took = time.monotonic() - begun
            print({(a.status_code, a.text) for a in answers}, took < 5)
            """,
            port,
        )
    assert result.stdout == "{(200, 'path /slow')} True\n"


def test_geventhttpclient() -> None:
    with running_python(SERVER, greenify=False, env=ENV) as server:
        port = server.readline()
        result = run_gevent(
            """
            import gevent, sys
            from geventhttpclient import HTTPClient
            client = HTTPClient('127.0.0.1', int(sys.argv[1]), concurrency=5)
            def get(n):
                answer = client.get('/%d' % n)
                return answer.status_code, bytes(answer.read())
            found = [g.get() for g in [gevent.spawn(get, n) for n in range(30)]]
            print(found == [(200, b'path /%d' % n) for n in range(30)])
            client.close()
            """,
            port,
        )
    assert result.stdout == "True\n"


def test_pywsgi_under_load() -> None:
    wrk = shutil.which("wrk")
    if wrk is None:
        pytest.skip("wrk is not installed: apt-get install wrk")
    with running_python(SERVER, greenify=False, env=ENV) as server:
        port = server.readline()
        load = subprocess.run(
            [wrk, "-t1", "-c50", "-d2s", f"http://127.0.0.1:{port}/x"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert server.process.poll() is None
    requests = re.search(r"(\d+) requests in", load.stdout)
    assert requests is not None, load.stdout
    assert int(requests[1]) > 200
    assert "Socket errors" not in load.stdout, load.stdout
    assert "Non-2xx" not in load.stdout, load.stdout
    assert "Traceback" not in server.stderr
