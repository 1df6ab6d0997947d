"""JSON over HTTP from a small device: bounded in time, and every failure is a status.

The devices are weak: one connection at a time, closed after each answer. A request as a whole ends
by its deadline, however slowly the device drips.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import socket
import threading
import time
from dataclasses import dataclass
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.base import Status

LARGEST_BYTES = 65_536
"""No device of this kind says more; what does is something else."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Outcome of a request.

    Attributes:
        status: OK if there is a JSON object.
        body: The JSON object; empty if there is none.
        code: HTTP status; None if it did not come to that.
        reason: In words, if it failed.
        start_ns: Monotonic, before.
        end_ns: Monotonic, after.
    """

    status: Status
    body: dict[str, Any]
    code: int | None
    reason: str
    start_ns: int
    end_ns: int


class HttpJson:
    """A device that answers GET requests with JSON objects.

    Args:
        port: ``http://HOST[:PORT]`` or ``HOST[:PORT]``.
        key: Key of the campaign to name in messages.

    Raises:
        WattproofError: If it is not written that way.
    """

    def __init__(self, port: str, key: str = "sources.meter.port") -> None:
        name = port.removeprefix("http://").rstrip("/")
        host, colon, number = name.rpartition(":")
        host, number = (host, number) if colon else (number, "80")
        if "/" in name or not host or not number.isdigit() or not 0 < int(number) < 65_536:
            raise WattproofError(
                f"Key '{key}' is '{port}'; write the device's address, e.g. http://192.168.1.20."
            )
        self.where = name
        self._key = key
        self._host, self._port = host, int(number)
        self._address: str | None = None

    def find(self) -> None:
        """Look up the name once: a name server that hangs must not hold up a read.

        Raises:
            WattproofError: If the name is not known.
        """
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise WattproofError(
                f"The name {self._host} is not known on this network; check key '{self._key}'."
            ) from error
        self._address = str(found[0][4][0])

    def get(self, path: str, timeout_s: float) -> Answer:
        """Ask; never raises, and never takes longer than `timeout_s`."""
        start_ns = time.monotonic_ns()
        connection = http.client.HTTPConnection(
            self._address or self._host, self._port, timeout=timeout_s
        )
        late = threading.Event()

        def give_up() -> None:
            late.set()
            with contextlib.suppress(OSError, AttributeError):
                # Wakes a read that gets a byte now and then and so never times out.
                connection.sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(timeout_s, give_up)
        timer.daemon = True
        timer.start()
        code: int | None = None
        try:
            headers = {"Host": self.where, "Connection": "close"}
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            code = response.status
            text = response.read(LARGEST_BYTES + 1)
            status, body, reason = _judge(code, text)
        except TimeoutError:
            status, body, reason = Status.TIMEOUT, {}, "it does not answer in time"
        except http.client.RemoteDisconnected:
            status, body, reason = Status.DEVICE_LOST, {}, "it hangs up"
        except OSError as error:
            status, body, reason = Status.DEVICE_LOST, {}, error.strerror or str(error)
        except (http.client.HTTPException, ValueError) as error:
            status, body, reason = Status.GARBLED, {}, f"it does not speak HTTP: {error!r}"
        finally:
            timer.cancel()
            connection.close()
        if late.is_set() and status is not Status.OK:
            status, reason = Status.TIMEOUT, "it does not answer in time"
        return Answer(status, body, code, reason, start_ns, time.monotonic_ns())


def _judge(code: int, text: bytes) -> tuple[Status, dict[str, Any], str]:
    body: Any = None
    if len(text) <= LARGEST_BYTES:
        with contextlib.suppress(ValueError, RecursionError):
            body = json.loads(text)
    said = body if isinstance(body, dict) else {}
    if code in (401, 403):
        return Status.NO_PERMISSION, said, f"HTTP {code}: it wants a password"
    if code != 200:
        return Status.ERROR, said, f"HTTP {code} {said.get('message', '')}".strip()
    if not isinstance(body, dict):
        return Status.GARBLED, {}, "its answer is no JSON object"
    return Status.OK, body, ""


def number(value: Any) -> tuple[float | None, Status]:
    """Return a number of a JSON answer, and its status."""
    if value is None:
        return None, Status.MISSING
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None, Status.GARBLED
    if math.isnan(value):
        return None, Status.NOT_A_NUMBER
    if math.isinf(value):
        return None, Status.OVERRANGE
    return float(value), Status.OK


def total(values: list[tuple[float | None, Status]]) -> tuple[float | None, Status]:
    """Sum numbers; the first that failed is the outcome of the sum."""
    numbers = []
    for value, status in values:
        if value is None:
            return None, status
        numbers.append(value)
    return math.fsum(numbers), Status.OK
