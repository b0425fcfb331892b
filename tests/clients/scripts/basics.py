"""What a client does all day: get, keep-alive, redirects, bodies that are streamed both ways."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import requests
from scenario import main


def get(url: str) -> Any:
    response = requests.get(url + "/hello", headers={"X-Colour": "green"}, timeout=20)
    response.raise_for_status()
    return response.json()


def keep_alive(url: str, number: int) -> None:
    with requests.Session() as session:
        for _ in range(number):
            session.get(url + "/hello", timeout=20).raise_for_status()


def closed_by_server(url: str, number: int) -> None:
    with requests.Session() as session:
        for _ in range(number):
            assert session.get(url + "/goodbye", timeout=20).text == "goodbye"


def redirects(url: str) -> Any:
    response = requests.get(url + "/redirect/4", timeout=20)
    return [each.status_code for each in response.history] + [response.status_code, response.url]


def too_many_redirects(url: str) -> str:
    with requests.Session() as session:
        session.max_redirects = 3
        try:
            session.get(url + "/redirect/5", timeout=20)
        except requests.TooManyRedirects as error:
            return type(error).__name__
    return "no error"


def redirect_to_tls(url: str, to: str, ca: str) -> Any:
    response = requests.get(url + "/elsewhere", params={"to": to}, verify=ca, timeout=20)
    return [response.url, response.json()["scheme"]]


def download_chunked(url: str, number: int) -> Any:
    with requests.get(f"{url}/chunks/{number}", stream=True, timeout=20) as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        position = 0
        for data in response.iter_content(7_777):
            for offset in (0, len(data) - 1):
                assert data[offset] == (position + offset) // 10_000 % 256
            position += len(data)
    return position


def download_at_once(url: str, number: int) -> Any:
    return len(requests.get(f"{url}/chunks/{number}", timeout=20).content)


def download_lines(url: str) -> Any:
    """The server sends a line only after the one before was answered by another request."""
    lines = []
    with (
        requests.Session() as session,
        session.get(url + "/dripping", stream=True, timeout=20) as response,
    ):
        for line in response.iter_lines(chunk_size=1):
            lines.append(line.decode())
            session.get(url + "/hello", timeout=20).raise_for_status()
    return lines


def abandon_download(url: str) -> Any:
    """A response that is left half read must not spoil the session's pool."""
    with requests.Session() as session:
        for _ in range(3):
            with session.get(f"{url}/chunks/1000", stream=True, timeout=20) as response:
                assert len(next(response.iter_content(1_000))) == 1_000
        return session.get(url + "/hello", timeout=20).status_code


def upload(url: str, size: int) -> Any:
    body = bytes(range(256)) * (size // 256)
    answer = requests.post(url + "/upload", data=body, timeout=20).json()
    assert answer["sha256"] == hashlib.sha256(body).hexdigest()
    return [answer["size"], answer["encoding"]]


def upload_chunked(url: str, number: int) -> Any:
    digest = hashlib.sha256()

    def body() -> Iterator[bytes]:
        for index in range(number):
            piece = bytes([index % 256]) * 10_000
            digest.update(piece)
            yield piece

    answer = requests.post(url + "/upload", data=body(), timeout=20).json()
    assert answer["sha256"] == digest.hexdigest()
    return [answer["size"], answer["encoding"]]


def upload_file(url: str, path: str) -> Any:
    with open(path, "rb") as file:
        return requests.post(url + "/upload", files={"file": file}, timeout=20).json()["size"]


if __name__ == "__main__":
    main(globals())
