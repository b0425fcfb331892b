"""200 times `requests.get` in a pool of 200 threads: ordinary code for `concurrent.futures`.

    $ python examples/concurrent_requests.py                 # 200 threads of the OS
    $ python -m greenify examples/concurrent_requests.py     # 200 greenlets in one thread
    $ python examples/concurrent_requests.py https://host.example/ --requests 10

Without an address it asks a server of its own, which runs in the same process and takes a fifth of
a second for each answer.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests

DELAY = 0.2


class SlowHandler(BaseHTTPRequestHandler):
    """Answers each GET after a while."""

    def do_GET(self) -> None:
        time.sleep(DELAY)
        body = b"It took a while.\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the terminal for the result."""


class SlowServer(ThreadingHTTPServer):
    request_queue_size = 1024


@contextlib.contextmanager
def slow_server() -> Iterator[str]:
    """Serve in a thread of this process; yields the address."""
    with SlowServer(("127.0.0.1", 0), SlowHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def get(url: str) -> str:
    try:
        return f"status {requests.get(url, timeout=30).status_code}"
    except requests.RequestException as failure:
        return type(failure).__name__


def native_threads() -> int | None:
    """The number of threads the operating system sees in this process, where it says (Linux)."""
    try:
        return len(os.listdir("/proc/self/task"))
    except FileNotFoundError:
        return None


def run(url: str, number: int) -> int:
    began = time.perf_counter()
    with ThreadPoolExecutor(number) as pool:
        futures = [pool.submit(get, url) for _ in range(number)]
        threads = native_threads()
        answers = Counter(future.result() for future in futures)
    seconds = time.perf_counter() - began
    for answer, count in answers.most_common():
        print(f"{count} x {answer}")
    print(f"{seconds:.2f} s, {threads or 'an unknown number of'} OS threads")
    return 0 if answers["status 200"] == number else 1


def main() -> int:
    parser = argparse.ArgumentParser(description="Many GET requests at once.")
    parser.add_argument("url", nargs="?", help="default: a slow server in this process")
    parser.add_argument("--requests", type=int, default=200, metavar="N", help="default: 200")
    options = parser.parse_args()
    if options.url:
        return run(options.url, options.requests)
    with slow_server() as url:
        return run(url, options.requests)


if __name__ == "__main__":
    sys.exit(main())
