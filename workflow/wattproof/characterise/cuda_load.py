"""``python -m wattproof.characterise.cuda_load``: matrix products on the first visible GPU.

Speaks the protocol of `loads.CommandLoad`. High: one product after the other, each waited for, so
that the GPU is never more than one of them (some milliseconds) ahead of a ``low``.
"""

from __future__ import annotations

import os
import select
import sys
import time

PRODUCT_S = 0.002
"""About how long one turn of work may take: the grain of the edges."""


def main() -> int:
    """Work as told until the input ends; returns the exit status."""
    import torch

    if not torch.cuda.is_available():
        sys.stderr.write(
            "torch sees no CUDA GPU here: install torch with CUDA, or give a load of your own "
            "with --load\n"
        )
        return 1
    device = torch.device("cuda", 0)
    side = 4096
    a = torch.randn(side, side, device=device, dtype=torch.float16)
    b = torch.randn(side, side, device=device, dtype=torch.float16)
    out = torch.empty_like(a)

    def turn(products: int) -> None:
        for _ in range(products):
            torch.mm(a, b, out=out)
        torch.cuda.synchronize()

    for _ in range(5):
        turn(1)
    begin = time.monotonic()
    turn(10)
    products = max(1, round(PRODUCT_S / ((time.monotonic() - begin) / 10)))
    _say("ready")
    high, unread = False, b""
    while True:
        if high:
            turn(products)
        if select.select([0], [], [], 0.0 if high else None)[0]:
            data = os.read(0, 4096)
            if not data:
                return 0
            unread += data
        while b"\n" in unread:
            line, _, unread = unread.partition(b"\n")
            word = line.decode(errors="replace").strip()
            high = word == "high"
            # Low: the last product has ended before this line. High: the next one begins now.
            _say(f"{word} {time.monotonic_ns()}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
