"""A load on a stub driver: as an object, and as a command that a test process serves.

Run as ``stub_load.py SOCKET`` it passes its lines on to the test, which owns the driver.
"""

import socket
import sys
import threading
import time
from pathlib import Path

from stub_nvml import PowerScript, StubDriver

AHEAD_NS = 3_000_000
"""A step is written before it begins: sensors must not see the time before it twice."""


class StubLoad:
    """Switches a GPU of the stub driver (the interface of `loads.Load`).

    Args:
        driver: The driver.
        low_w: True power when low.
        high_w: True power when high.
        gpu: Index of the GPU.
    """

    name = "stub"
    edge_u_s = 0.0

    def __init__(self, driver: StubDriver, low_w: float, high_w: float, gpu: int = 0) -> None:
        self._driver, self._low_w, self._high_w, self._gpu = driver, low_w, high_w, gpu

    def start(self) -> None:
        self.switch(False)

    def switch(self, high: bool) -> int:
        start_ns = time.monotonic_ns() + AHEAD_NS
        watts = self._high_w if high else self._low_w
        self._driver.play(self._gpu, PowerScript(start_ns, [], then=watts))
        time.sleep(max(0, start_ns - time.monotonic_ns()) / 1e9)
        return start_ns

    def stop(self) -> None:
        self._driver.play(self._gpu, None)


def serve(load: StubLoad, path: Path) -> threading.Thread:
    """Answer one `main` from a thread until it hangs up."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)

    def run() -> None:
        connection, _ = listener.accept()
        with listener, connection, connection.makefile("rw") as lines:
            for line in lines:
                at_ns = load.switch(line.strip() == "high")
                lines.write(f"{line.strip()} {at_ns}\n")
                lines.flush()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def main(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        with connection.makefile("rw") as test:
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            for line in sys.stdin:
                test.write(line)
                test.flush()
                sys.stdout.write(test.readline())
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
