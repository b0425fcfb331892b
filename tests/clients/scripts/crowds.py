"""Many threads, each with requests of its own."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from scenario import main


def pool(url: str, number: int, verify: str | bool = True) -> Any:
    """So many `requests.get` in so many threads of an executor."""

    def get(index: int) -> str:
        return requests.get(url, verify=verify, timeout=50).text

    with ThreadPoolExecutor(number) as executor:
        return Counter(executor.map(get, range(number)))


def shared_session(url: str, threads: int, each: int) -> Any:
    """One session, whose pool has fewer connections than there are threads: they take turns."""
    answers: queue.Queue[int] = queue.Queue()
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(pool_maxsize=5, pool_block=True))

        def work() -> None:
            for _ in range(each):
                answers.put(session.get(url + "/hello", timeout=50).status_code)

        workers = [threading.Thread(target=work) for _ in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return Counter(answers.get_nowait() for _ in range(answers.qsize()))


def sessions_of_threads(url: str, threads: int, each: int) -> Any:
    """A session in each thread, kept in a `threading.local`."""
    local = threading.local()
    answers: queue.SimpleQueue[int] = queue.SimpleQueue()

    def session() -> requests.Session:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        return local.session

    def work() -> None:
        for _ in range(each):
            answers.put(session().get(url + "/hello", timeout=50).status_code)
        session().close()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return Counter(answers.get_nowait() for _ in range(answers.qsize()))


def one_waits_others_go_on(url: str) -> Any:
    """While one thread waits for an answer, the main one gets 20, and then lets it have its."""
    late: queue.Queue[str] = queue.Queue()

    def wait() -> None:
        late.put(requests.get(url + "/together/2", timeout=50).text)

    waiter = threading.Thread(target=wait)
    waiter.start()
    answers = [requests.get(url + "/hello", timeout=20).status_code for _ in range(20)]
    assert late.empty()
    assert requests.get(url + "/together/2", timeout=50).text == "together"
    waiter.join()
    return [Counter(answers), late.get_nowait()]


if __name__ == "__main__":
    main(globals())
