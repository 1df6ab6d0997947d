"""A benchmark as an optimiser sees it: losses of any point of the space, at any epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from wattproof.adapters.points import Config, Points
from wattproof.benchmark.api import Benchmark
from wattproof.benchmark.results import Result
from wattproof.errors import WattproofError, did_you_mean

Invalid = Literal["nearest", "reject"]
"""What becomes of a point that builds no allowed network."""


class NotANetwork(WattproofError):  # noqa: N818 - a finding about a point, not a fault
    """A point of the space builds no allowed network, and the adapter was told to reject those."""


@dataclass(frozen=True)
class Objective:
    """What is optimised.

    Attributes:
        name: Target of the benchmark.
        maximise: Whether more of it is better.
    """

    name: str
    maximise: bool

    @property
    def loss_name(self) -> str:
        """Name of what is minimised: an accuracy's is ``error``."""
        return self.name.replace("accuracy", "error") if self.maximise else self.name

    def loss(self, value: Any) -> Any:
        """Return what is minimised: a share that is to be large becomes 1 - share."""
        return 1.0 - value if self.maximise else value


def objectives(bench: Benchmark, names: Sequence[str]) -> tuple[Objective, ...]:
    """Look objectives up among a benchmark's targets.

    Raises:
        WattproofError: None is named, or one is no target of the benchmark.
    """
    if isinstance(names, str) or not names:
        raise WattproofError(
            f"objectives={names!r} names no list of objectives; give some of "
            f"{', '.join(bench.targets)}."
        )
    for name in names:
        if name not in bench.targets:
            raise WattproofError(
                f"'{name}' is no target of this benchmark.{did_you_mean(name, bench.targets)} "
                f"Give some of {', '.join(bench.targets)}."
            )
    return tuple(Objective(n, bench.targets[n]["direction"] == "maximise") for n in names)


def check_invalid(invalid: str) -> None:
    """Check what is to become of points that build no allowed network."""
    if invalid not in get_args(Invalid):
        raise WattproofError(
            f"invalid={invalid!r} says not what becomes of points that build no allowed network; "
            f"give {' or '.join(map(repr, get_args(Invalid)))}."
        )


@dataclass(frozen=True)
class Answer:
    """Answer to one point.

    Attributes:
        config: Configuration that was asked about: the point, or the network near it.
        moved: Whether it is another than the point.
        result: What the benchmark says.
        losses: By `Objective.loss_name`.
    """

    config: Config
    moved: bool
    result: Result
    losses: dict[str, float]


class View:
    """A benchmark as an optimiser sees it.

    Attributes:
        bench: The benchmark.
        points: Its space.
        objectives: What is optimised.
    """

    def __init__(
        self, bench: Benchmark, names: Sequence[str], invalid: Invalid = "nearest"
    ) -> None:
        check_invalid(invalid)
        self.bench = bench
        self.objectives = objectives(bench, names)
        self.points = Points(bench)
        self._invalid = invalid

    @property
    def loss_names(self) -> list[str]:
        """Names of what is minimised, in the order of the objectives."""
        return [objective.loss_name for objective in self.objectives]

    def configuration(self, point: Mapping[str, Any]) -> Config:
        """Return the configuration that a point stands for.

        Raises:
            NotANetwork: It builds no allowed network, and such points are rejected.
        """
        config = self.points.plain(point)
        if not self.points.inside(config) or self.points.valid(config):
            return config  # what lies outside of the space is refused by the query, in words
        if self._invalid == "reject":
            raise NotANetwork(
                f"{config} builds no allowed network of space '{self.bench.space.name}'; draw "
                "with bench.sample, or let the adapter move such points (invalid='nearest')."
            )
        return self.points.nearest(config)

    def ask(
        self, point: Mapping[str, Any], epoch: int | None = None, seed: int | None = None
    ) -> Answer:
        """Query one point after an epoch; a shorter training is answered at its end."""
        config = self.configuration(point)
        end = None if epoch is None else min(epoch, self.bench.epochs(config))
        result = self.bench.query(config, end, seed)
        losses = {o.loss_name: float(o.loss(_value(result, o.name))) for o in self.objectives}
        return Answer(config, config != self.points.plain(point), result, losses)

    def ask_many(
        self, configs: Sequence[Config], epoch: int | None = None, seed: int | None = None
    ) -> NDArray[np.float64]:
        """Query many *configurations* (see `configuration`): losses, n × objectives."""
        frame = pd.DataFrame(list(configs), columns=list(self.bench.space))
        if epoch is not None:
            frame["epoch"] = [min(epoch, self.bench.epochs(config)) for config in configs]
        found = self.bench.query_many(frame, seed=seed)
        columns = []
        for objective in self.objectives:
            if objective.name not in found:
                raise _unknown(objective.name)
            columns.append(objective.loss(found[objective.name].to_numpy(dtype=np.float64)))
        return np.stack(columns, axis=1)

    def curve(
        self, config: Config, seed: int | None = None, also: Sequence[str] = ()
    ) -> dict[str, NDArray[np.float64]]:
        """Losses of a *configuration* after each epoch, and other targets as they are.

        What is known of the finished training only (inference, test) is the same at each epoch.
        """
        curve = self.bench.curve(config, seed)
        rows = len(curve)
        end: Result | None = None

        def series(name: str) -> NDArray[np.float64]:
            nonlocal end
            if name in curve:
                return curve[name].to_numpy(dtype=np.float64)
            if name == "power_w":
                return series("energy_j") / series("time_s")
            end = end or self.bench.query(config, seed=seed)
            return np.full(rows, _value(end, name))

        found = {o.loss_name: o.loss(series(o.name)) for o in self.objectives}
        return found | {name: series(name) for name in also if name not in found}

    def longest(self) -> int:
        """Epochs of the longest training of the space."""
        fidelity: Any = self.bench.fidelity_space["epoch"]
        return int(fidelity.upper)


def _value(result: Result, name: str) -> float:
    value = getattr(result, name, None)
    if value is None:
        raise _unknown(name)
    return float(value.value)


def _unknown(name: str) -> WattproofError:
    return WattproofError(
        f"This benchmark does not know '{name}' of its networks; choose another objective."
    )


def missing(package: str, module: str) -> WattproofError:
    """What to say where the package of an adapter is not installed."""
    return WattproofError(
        f"The adapter to {package} needs the package '{module}'; install it with "
        "pip install 'wattproof[search]'."
    )
