"""Smart plugs on a loopback socket: a Shelly (second generation on) and a Tasmota.

Raw sockets, so that they can also refuse, hang, drip, hang up and talk nonsense.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

Body = Callable[[str], "tuple[int, Any]"]


class PlugSimulator:
    """Answers GET requests; `fault` makes it fail as a whole from then on.

    Args:
        body: Path with query to (HTTP status, JSON value).
    """

    def __init__(self, body: Body) -> None:
        self.requests: list[str] = []
        self.fault: str | None = None
        self._body = body
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.05)
        self._port = self._server.getsockname()[1]
        self.port = f"http://127.0.0.1:{self._port}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Switch it off: connections are refused."""
        self._stop.set()
        self._thread.join()
        self._server.close()

    def _serve(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                client = self._server.accept()[0]
                with contextlib.suppress(OSError), client:
                    client.settimeout(1)
                    self._one(client)

    def _one(self, client: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = client.recv(4096)
            if not piece:
                return
            data += piece
        path = data.split(b" ")[1].decode()
        self.requests.append(path)
        if self.fault == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            return
        if self.fault == "hang up":
            return
        if self.fault == "silent":
            self._stop.wait(0.9)
            return
        if self.fault == "no http":
            client.sendall(b"\x00\x01SSH-2.0\r\n\r\n")
            return
        code, value = (500, {"code": 500}) if self.fault == "500" else self._body(path)
        text = json.dumps(value).encode()
        if self.fault == "broken json":
            text = text[: len(text) // 2]
        if self.fault == "list":
            text = b"[1, 2]"
        if self.fault == "endless":
            text = b'{"a": "' + b"x" * 100_000 + b'"}'
        head = f"HTTP/1.1 {code} X\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n"
        whole = head.encode() + text
        if self.fault == "cut":
            client.sendall(whole[:-5])
        elif self.fault == "drip":
            for i in range(len(whole)):
                client.sendall(whole[i : i + 1])
                if self._stop.wait(0.05):
                    return
        else:
            client.sendall(whole)


class Shelly:
    """What a Shelly Plus Plug S (or Pro 4PM, or Pro 3EM) says."""

    def __init__(self, components: tuple[str, ...] = ("switch:0",), auth: bool = False) -> None:
        self.components = components
        self.auth = auth
        self.extra: dict[str, Any] = {}
        self.watts = 231.5
        self.began_s = time.monotonic()
        self.about: dict[str, Any] = {
            "id": "shellyplusplugs-a0b1c2d3e4f5", "mac": "A0B1C2D3E4F5", "model": "SNPL-00112EU",
            "gen": 2, "fw_id": "20231219-133953", "ver": "1.1.0", "app": "PlusPlugS",
            "auth_en": auth, "auth_domain": None,
        }  # fmt: skip

    def __call__(self, path: str) -> tuple[int, Any]:
        url = urlsplit(path)
        if url.path == "/shelly":
            return 200, self.about
        if self.auth:
            return 401, None
        method = url.path.removeprefix("/rpc/").removesuffix(".GetStatus")
        number = int(parse_qs(url.query)["id"][0])
        component = f"{method.lower().removesuffix('data')}:{number}"
        if component not in self.components:
            return 500, {"code": -105, "message": f"Argument 'id', value {number} not found!"}
        # A counter in Wh with three decimals, as the devices have.
        wh = round(1000 + self.watts * (time.monotonic() - self.began_s) / 3600, 3)
        watts = self.watts * (1 + number)
        minute = int(time.time() // 60 * 60)
        answers = {
            "EM1": {"id": number, "voltage": 229.9, "act_power": watts},
            "EM1Data": {"id": number, "total_act_energy": wh},
            "EM": {"id": number, "a_voltage": 229.9, "total_act_power": watts},
            "EMData": {"id": number, "total_act": wh},
        }
        switch = {
            "id": number, "source": "init", "output": True, "apower": watts, "voltage": 229.9,
            "current": 1.01, "aenergy": {"total": wh, "by_minute": [1, 2, 3], "minute_ts": minute},
            "temperature": {"tC": 40.1, "tF": 104.2},
        }  # fmt: skip
        return 200, {**answers.get(method, switch), **self.extra}


class Tasmota:
    """What a Tasmota says; `old` knows only Status 8."""

    def __init__(self, old: bool = False, password: str | None = None, outlets: int = 1) -> None:
        self.old = old
        self.password = password
        self.outlets = outlets
        self.sensors: dict[str, Any] = {}
        self.energy: dict[str, Any] = {}
        self.warn_with = 401

    def __call__(self, path: str) -> tuple[int, Any]:
        query = parse_qs(urlsplit(path).query)
        if self.password is not None and query.get("password") != [self.password]:
            return self.warn_with, {"WARNING": "Need user=<username>&password=<password>"}
        command = unquote(query["cmnd"][0])
        if command == "Status 2":
            return 200, {"StatusFWR": {"Version": "13.2.0(tasmota)", "Hardware": "ESP8266EX"}}
        if command == "Status 5":
            return 200, {"StatusNET": {"Hostname": "plug", "Mac": "2C:3A:E8:00:11:22"}}
        if command != ("Status 8" if self.old else "Status 10"):
            return 200, {"Command": "Unknown"}
        many = self.outlets > 1
        energy = {
            "TotalStartTime": "2023-01-01T00:00:00", "Total": 12.345, "Yesterday": 1.0,
            "Today": 0.5, "Period": 0, "Power": [231, 58][: self.outlets] if many else 231,
            "ApparentPower": 240, "ReactivePower": 60, "Factor": 0.96, "Voltage": 230,
            "Current": 1.04, **self.energy,
        }  # fmt: skip
        return 200, {"StatusSNS": {"Time": "2024-02-29T13:38:19", "ENERGY": energy, **self.sensors}}
