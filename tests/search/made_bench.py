"""A benchmark with a known law, by any source of energy: the oracle of the search's tests."""

import zlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from wattproof import space
from wattproof.search import Settings

SPACE = "regnet_demo"


@dataclass(frozen=True)
class Law:
    """Energy of an epoch is (depth × w_0 / 48) kJ; deep networks trained at lr 0.01 are better.

    Attributes:
        noise: Of energies, relative, and of accuracies.
        outside: Whether networks of group width 8 are outside of what the surrogates answer for.
    """

    noise: float = 0.0
    outside: bool = False

    def query_many(self, frame, epoch=None, seed=None):
        """Answer as `Benchmark.query_many` does."""
        assert epoch is None
        lengths = frame["epochs"].to_numpy()
        epochs = frame["epoch"].to_numpy() if "epoch" in frame else lengths
        size = (frame["depth"] * frame["w_0"]).to_numpy() / 48
        miss = np.abs(np.log10(frame["lr"].to_numpy(dtype=float) / 0.01))
        accuracy = 0.5 + 0.05 * size - 0.1 * miss
        joules = 1000.0 * size * epochs
        if seed is not None:
            drawn = draws(frame, seed)
            accuracy = accuracy + self.noise * drawn[:, 0]
            joules = joules * np.exp(self.noise * drawn[:, 1])
        keys = frame["depth"].astype(str) + "x" + frame["w_0"].astype(str)
        return pd.DataFrame(
            {
                "accuracy": accuracy * epochs / lengths,
                "test_accuracy": accuracy - 0.01,
                "energy_j": joules,
                "inference_j_per_image": 1e-3 * size / frame["group_width"].to_numpy(),
                "epoch": epochs,
                "network_key": keys.to_numpy(),
                "in_domain": ~(self.outside & (frame["group_width"] == 8).to_numpy()),
            },
            index=frame.index,
        )


@dataclass(frozen=True)
class Fault:
    """A source that reports something else.

    Attributes:
        kind: ``none``; ``half`` (half of the energy of every second training, by a hash);
            ``inverse`` (the hungrier, the less).
    """

    kind: str

    def report(self, frame, found, seed):
        """Answer as a `Reporter` does."""
        joules = found["energy_j"].to_numpy()
        if self.kind == "half":
            return np.where(draws(frame, seed)[:, 2] > 0, joules / 2, joules)
        if self.kind == "inverse":
            return 1e6 * found["epoch"].to_numpy() ** 2 / joules
        return joules.copy()


def draws(frame, seed):
    """Three normal numbers a configuration."""
    columns = [frame[c].tolist() for c in frame.columns if c != "epoch"]
    keys = [zlib.crc32(repr(row).encode()) for row in zip(*columns, strict=True)]
    return np.array([np.random.default_rng([seed, key]).normal(size=3) for key in keys])


@dataclass(frozen=True)
class Opener:
    """Opens the law and a faulty source of energy; can be sent to a process."""

    fault: str = "half"
    noise: float = 0.01
    outside: bool = False

    def __call__(self):
        """Return space, benchmark and other sources."""
        return space.get(SPACE), Law(self.noise, self.outside), {"smi": Fault(self.fault)}


SMALL = Settings(budget=24.0, seeds=2, reference=300)
