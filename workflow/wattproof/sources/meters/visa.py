"""A `Link` over VISA: USB (USBTMC), Ethernet (VXI-11), GPIB, through the optional package pyvisa.

VISA reads block, and a USB read that is cut short may cost the answer: so a thread of its own does
all the talking, one command after another, and `VisaLink.read` only looks whether something came.
"""

from __future__ import annotations

import contextlib
import importlib
import queue
import threading
from typing import Any

from wattproof.errors import WattproofError
from wattproof.sources.meters.link import LinkLostError

GOODBYE_S = 0.5
"""The last commands have this long to leave before the device is let go."""


def is_visa(port: str) -> bool:
    """Return whether this is a VISA address, e.g. ``USB0::0x0B21::0x0025::C2PH13047V::INSTR``."""
    return "::" in port


class VisaLink:
    """An instrument at a VISA address.

    Args:
        address: VISA address.
        answer_s: Longest time that the device may take for an answer.
        backend: VISA library: ``@py`` is pyvisa-py, an empty text the maker's.
        key: Key of the campaign to name in messages.

    Raises:
        WattproofError: If the packages are missing or the device cannot be opened.
    """

    def __init__(
        self,
        address: str,
        answer_s: float,
        backend: str = "@py",
        key: str = "sources.meter.port",
    ) -> None:
        self.where = address
        self._visa = _pyvisa(key)
        try:
            self._manager = self._visa.ResourceManager(backend)
            self._device = self._manager.open_resource(address)
            self._device.timeout = round(answer_s * 1000)
            self._device.read_termination = "\n"
        except Exception as error:
            raise WattproofError(
                f"The meter at {address} cannot be opened over VISA ({_words(error)}); check key "
                f"'{key}' against what `pyvisa-shell` lists, the cable, and that you may use USB "
                "devices."
            ) from error
        self._broken: str | None = None
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    def read(self, timeout_s: float) -> bytes:
        """See `Link.read`."""
        try:
            data = self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            data = b""
        if data is None or self._broken is not None:
            raise LinkLostError(self._broken or "the link was closed")
        return data

    def write(self, data: bytes) -> None:
        """See `Link.write`; what holds a question mark is followed by one read."""
        if self._broken is not None:
            raise LinkLostError(self._broken)
        self._outbox.put(data)

    def send_break(self) -> None:
        """See `Link.send_break`: VISA's is "clear", which empties the device's buffers."""
        with contextlib.suppress(Exception):
            self._device.clear()

    def close(self) -> None:
        """See `Link.close`."""
        self._outbox.put(None)
        self._worker.join(GOODBYE_S)
        with contextlib.suppress(Exception):
            self._device.close()
        with contextlib.suppress(Exception):
            self._manager.close()

    def _work(self) -> None:
        while (data := self._outbox.get()) is not None:
            try:
                self._device.write_raw(data)
                if b"?" in data:
                    self._inbox.put(self._device.read_raw().rstrip(b"\r\n") + b"\n")
            except Exception as error:  # noqa: BLE001 - each backend has exceptions of its own
                code = getattr(error, "error_code", None)
                if code == self._visa.constants.StatusCode.error_timeout:
                    continue  # the driver has a time-out of its own, and says so
                self._broken = _words(error)
                self._inbox.put(None)
                return


def _pyvisa(key: str) -> Any:
    try:
        visa = importlib.import_module("pyvisa")
        importlib.import_module("pyvisa.constants")
    except ImportError as error:
        raise WattproofError(
            f"Key '{key}' is a VISA address, and pyvisa is not installed: "
            "pip install 'wattproof[meters]', or reach the meter over its serial port."
        ) from error
    return visa


def _words(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
