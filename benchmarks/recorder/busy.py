"""Burns a core until its standard input is closed (so that none is left behind)."""

import os
import select
import sys

if __name__ == "__main__":
    x = 1.0
    while not select.select([sys.stdin], [], [], 0)[0] or os.read(0, 1):
        for _ in range(200_000):
            x = x * 1.0000001 % 7.0
