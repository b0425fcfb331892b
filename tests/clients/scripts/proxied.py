"""Requests through an HTTP proxy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from scenario import main


def get(url: str, proxy: str, verify: str | bool = True) -> Any:
    proxies = {"http": proxy, "https": proxy}
    response = requests.get(url + "/hello", proxies=proxies, verify=verify, timeout=20)
    return [response.status_code, response.json()["scheme"] if response.ok else None]


def failure(url: str, proxy: str, verify: str | bool = True) -> str:
    try:
        requests.get(url + "/hello", proxies={"https": proxy}, verify=verify, timeout=20)
    except requests.RequestException as error:
        return type(error).__name__
    return "no error"


def many(url: str, proxy: str, verify: str, number: int) -> Any:
    def each(index: int) -> int:
        proxies = {"http": proxy, "https": proxy}
        return requests.get(url, proxies=proxies, verify=verify, timeout=50).status_code

    with ThreadPoolExecutor(number) as executor:
        return list(executor.map(each, range(number)))


if __name__ == "__main__":
    main(globals())
