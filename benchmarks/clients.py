"""Clients of a gateway on this machine: one request, clients that ask without a pause, or requests at fixed times."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Answered", "Port", "asked_at", "asked_by", "request"]

Port = int


@dataclass(frozen=True)
class Answered:
    """What a client heard."""

    number: int
    """Of the request, from 0."""
    status: int
    """0: the connection ended without an answer."""
    seconds: float
    certificate: str | None


def request(port: Port, file: bytes, query: str = "", *, number: int = 0) -> Answered:
    """The answer of /v1/certify to an image file."""
    started, status, certificate = time.perf_counter(), 0, None
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=900)
    try:
        connection.request("POST", f"/v1/certify{query}", file)
        response = connection.getresponse()
        response.read()
        status, certificate = response.status, response.headers["Dsmooth-Certificate"]
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()
    return Answered(number, status, time.perf_counter() - started, certificate)


def asked_by(clients: int, port: Port, files: Sequence[bytes], *, going: Callable[[int], bool]) -> list[Answered]:
    """So many clients ask about the files in turn, each without a pause, as long as `going` says so of the next number."""
    answers: list[Answered] = []
    lock, numbers = threading.Lock(), iter(range(1 << 62))

    def ask() -> None:
        while True:
            with lock:
                number = next(numbers)
            if not going(number):
                return
            answers.append(request(port, files[number % len(files)], number=number))

    _together([threading.Thread(target=ask) for _ in range(clients)])
    return answers


def asked_at(rate: float, count: int, port: Port, files: Sequence[bytes], query: str = "") -> list[Answered]:
    """So many requests, at so many a second, whether or not those before them are answered."""
    answers: list[Answered] = []
    started = time.perf_counter()

    def ask(number: int) -> None:
        time.sleep(max(0.0, started + number / rate - time.perf_counter()))
        answers.append(request(port, files[number % len(files)], query, number=number))

    _together([threading.Thread(target=ask, args=(number,)) for number in range(count)])
    return answers


def _together(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
