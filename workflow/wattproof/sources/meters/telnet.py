"""The little of telnet that a box with a serial port on the network may speak."""

from __future__ import annotations

IAC, SE, SB, WILL, WONT, DO, DONT = 255, 240, 250, 251, 252, 253, 254
BREAK = bytes([IAC, 243])
LONGEST = 4096


class Telnet:
    """Takes telnet's own bytes out of a stream and refuses every option that is offered."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the payload, and what must be answered."""
        data, self._rest = self._rest + data, b""
        if IAC not in data:
            return data, b""
        payload, answer = bytearray(), bytearray()
        at = 0
        while at < len(data):
            if data[at] != IAC:
                payload.append(data[at])
                at += 1
                continue
            verb = data[at + 1] if at + 1 < len(data) else None
            length = 3 if verb in (WILL, WONT, DO, DONT) else 2
            if verb == SB:
                end = data.find(bytes([IAC, SE]), at)
                length = end + 2 - at if end >= 0 else len(data) - at + 1
            if verb is None or at + length > len(data):
                self._rest = data[at : at + LONGEST]
                break
            if verb == IAC:
                payload.append(IAC)
            elif verb in (WILL, DO):
                answer += bytes([IAC, DONT if verb == WILL else WONT, data[at + 2]])
            at += length
        return bytes(payload), bytes(answer)
