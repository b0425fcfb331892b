"""What goes wrong between a client and a server: time-outs, resets, bad certificates; retries."""

from __future__ import annotations

import time
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from scenario import main
from urllib3 import Retry


def failure(url: str, verify: str | bool = True) -> Any:
    """The names of the exceptions, from the one that requests raised down to its cause."""
    try:
        requests.get(url, verify=verify, timeout=20)
    except requests.RequestException as error:
        return names(error)
    return []


def names(error: BaseException) -> list[str]:
    """The classes of an error and of those that it came from, and what it says."""
    result = [each.__name__ for each in type(error).__mro__]
    inner = error.__cause__ or error.__context__
    return result + [str(error)] + (names(inner) if inner else [])


def timed_out(url: str, connect: float, read: float) -> Any:
    """The exception's name, and how long it took to come."""
    began = time.monotonic()
    try:
        requests.get(url, timeout=(connect, read))
    except requests.Timeout as error:
        return [type(error).__name__, time.monotonic() - began]
    return ["no error", time.monotonic() - began]


def usable_after_timeout(url: str) -> Any:
    with requests.Session() as session:
        for _ in range(3):
            try:
                session.get(url + "/never", timeout=0.1)
            except requests.ReadTimeout:
                pass
            else:
                raise AssertionError("no time-out")
        return session.get(url + "/hello", timeout=20).status_code


def retries(url: str, failures: int, total: int) -> Any:
    retry = Retry(total=total, backoff_factor=0.01, status_forcelist=[503])
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=retry))
        try:
            return session.get(f"{url}/flaky/retries/{failures}", timeout=20).text
        except requests.exceptions.RetryError as error:
            return type(error).__name__


def retries_of_resets(url: str, total: int) -> Any:
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(total=total, backoff_factor=0.01)))
        try:
            session.get(url + "/reset", timeout=20)
        except requests.ConnectionError as error:
            return type(error).__name__
    return "no error"


def tls_get(url: str, ca: str, number: int = 1) -> Any:
    with requests.Session() as session:
        session.verify = ca
        return [session.get(url, timeout=20).json()["scheme"] for _ in range(number)]


def tls_upload_and_download(url: str, ca: str, size: int) -> Any:
    with requests.Session() as session:
        session.verify = ca
        answer = session.post(url + "/upload", data=bytes(size), timeout=20).json()
        body = session.get(f"{url}/chunks/{size // 10_000}", timeout=20).content
    return [answer["size"], len(body)]


def tls_timed_out(url: str, ca: str) -> Any:
    try:
        requests.get(url + "/never", verify=ca, timeout=0.2)
    except requests.ReadTimeout as error:
        return type(error).__name__
    return "no error"


if __name__ == "__main__":
    main(globals())
