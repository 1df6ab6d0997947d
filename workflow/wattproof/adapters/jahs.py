"""A call as JAHS-Bench-201 offers it: metrics of a training by epoch, in its units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from wattproof.adapters.view import Invalid, View
from wattproof.benchmark.api import Benchmark
from wattproof.errors import WattproofError

EACH_EPOCH = {
    "accuracy": ("valid-acc", 100.0),
    "time_s": ("runtime", 1.0),
    "energy_j": ("energy_j", 1.0),
    "power_w": ("power_w", 1.0),
}
"""Target of a benchmark → metric, and factor: JAHS-Bench-201 has accuracies in percent."""

AT_THE_END = {
    "test_accuracy": ("test-acc", 100.0),
    "latency_s": ("latency", 1.0),
    "inference_j_per_image": ("inference_j_per_image", 1.0),
}
"""The same for what is known of a finished training only, and not of each benchmark."""


class JAHSBenchmark:
    """``b(config, nepochs, full_trajectory)`` → ``{epoch: {metric: value}}``.

    Metrics: ``valid-acc`` (percent), ``runtime`` (seconds, all epochs so far) and, where the
    benchmark knows them, ``test-acc`` (percent) and ``latency`` (seconds), named as in
    JAHS-Bench-201; and ``energy_j``, ``power_w``, ``inference_j_per_image``, which it lacks.
    What is known of the finished training only stands at its last epoch.
    """

    def __init__(
        self, bench: Benchmark, *, seed: int | None = None, invalid: Invalid = "reject"
    ) -> None:
        """Keep the benchmark.

        Args:
            bench: A benchmark.
            seed: As in `Benchmark.query`.
            invalid: A configuration that builds no allowed network is refused, or answered as the
                nearest that does. `sample_config` draws none of them.
        """
        self._view = View(bench, ["accuracy"], invalid)
        self._seed = seed

    def __call__(
        self, config: Mapping[str, Any], nepochs: int | None = None, full_trajectory: bool = False
    ) -> dict[int, dict[str, float]]:
        """Answer as if it trained for `nepochs` epochs (None: to the end).

        Raises:
            WattproofError: As `Benchmark.query`.
        """
        plain = self._view.configuration(config)
        end = self._view.bench.query(plain, nepochs, self._seed)
        curve = self._view.curve(plain, self._seed, also=list(EACH_EPOCH))
        epochs = range(1, end.epoch + 1) if full_trajectory else [end.epoch]
        found = {
            epoch: {
                metric: float(curve[name][epoch - 1]) * factor
                for name, (metric, factor) in EACH_EPOCH.items()
            }
            for epoch in epochs
        }
        if end.epoch == len(curve["accuracy"]):
            for name, (metric, factor) in AT_THE_END.items():
                value = getattr(end, name, None)
                if value is not None:
                    found[end.epoch][metric] = float(value.value) * factor
        return found

    def sample_config(
        self, random_state: int | np.random.RandomState | np.random.Generator | None = None
    ) -> dict[str, Any]:
        """Draw a configuration that builds an allowed network; it has no keys but the space's.

        Args:
            random_state: A number or a NumPy generator; JAHS-Bench-201's None (any) is refused.
        """
        return self._view.bench.sample(number_of(random_state))


def number_of(random_state: int | np.random.RandomState | np.random.Generator | None) -> int:
    """Return a seed as a number; a generator advances by one draw.

    Raises:
        WattproofError: None, or no seed at all.
    """
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(2**31))
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(2**31 - 1))
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        return int(random_state)
    raise WattproofError(
        f"{random_state!r} is no seed; give a whole number or a NumPy generator, so that the draw "
        "can be repeated."
    )
