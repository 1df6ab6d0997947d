"""Searches: a method asks, trainings are charged to its energy budget, it ends when that is spent.

Who pays what: a training is charged with the energy of the epochs that it really trains, by the
source that the search believes in. The training during which the budget runs out is stopped there
and gives no result, so the charges of a search add up to its budget exactly.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wattproof.search.arena import Arena, Seen, Worth
from wattproof.search.atlas import Atlas, Config, Floats, identity

FREE = 500
"""Proposals in a row that cost nothing (known, or refused) after which a search has run dry."""


@dataclass(frozen=True)
class Ask:
    """What a method wants trained.

    Attributes:
        genes: Proposals in the unit cube; n × k.
        share: Part of their training that is wanted, above 0 to 1 (the end).
    """

    genes: Floats
    share: float = 1.0


@dataclass(frozen=True)
class Task:
    """What a method is told before it starts.

    Attributes:
        atlas: The configurations.
        start: Genes of random configurations, the same ones for all methods; s × k.
        objectives: How many costs an answer has.
        rng: Its own random numbers.
        seed: For libraries that want a number.
    """

    atlas: Atlas
    start: Floats
    objectives: int
    rng: np.random.Generator
    seed: int


Search = Generator[Ask, Floats, None]
"""Yields what it wants trained; is sent the costs, n × m, all minimised; NaN: refused."""

Method = Callable[[Task], Search]


@dataclass
class Ledger:
    """An energy budget and what is left of it.

    Attributes:
        budget_j: What may be spent, as the source says.
        spent_j: What was spent, as the source says.
        true_j: What was spent, by the calibrated source.
    """

    budget_j: float
    spent_j: float = 0.0
    true_j: float = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing is left."""
        return self.spent_j >= self.budget_j

    def charge(self, cost_j: float, true_j: float) -> bool:
        """Pay for some epochs; False if the budget ran out before they ended."""
        left_j = self.budget_j - self.spent_j
        if cost_j > left_j:
            self.spent_j = self.budget_j
            self.true_j += true_j * left_j / cost_j
            return False
        self.spent_j += cost_j
        self.true_j += true_j
        return True


@dataclass
class Trace:
    """What a search did; one entry a training that ended.

    Attributes:
        networks: Realised network.
        configs: Configuration.
        seen: Objectives as it saw them.
        worth: Objectives as they are.
        seen_j: Energy of the training as it was reported.
        worth_j: Calibrated energy of such a training, without noise.
        spent_j: Spent by the search when it ended, as reported.
        true_j: Spent by the search when it ended, calibrated.
        epochs: Epochs trained by the search in all, trainings that were given up included.
        refused: Proposals outside of what the surrogates answer for.
        ledger: How the budget stood at the end.
    """

    ledger: Ledger
    networks: list[str] = field(default_factory=list)
    configs: list[Config] = field(default_factory=list)
    seen: list[Floats] = field(default_factory=list)
    worth: list[Floats] = field(default_factory=list)
    seen_j: list[float] = field(default_factory=list)
    worth_j: list[float] = field(default_factory=list)
    spent_j: list[float] = field(default_factory=list)
    true_j: list[float] = field(default_factory=list)
    epochs: int = 0
    refused: int = 0


@dataclass
class _Training:
    """A training that a search began."""

    epoch: int = 0
    spent_j: float = 0.0
    true_j: float = 0.0
    costs: dict[int, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A search that takes part: what it does, and which source of energy it believes in."""

    method: Method
    task: Task
    source: str


def run(arena: Arena, entries: Sequence[Entry], seed: int, budget_j: float) -> list[Trace]:
    """Run searches side by side, each until its energy is spent or it has nothing more to ask.

    They do not know of each other: side by side they are only asked for in one query.

    Args:
        arena: The benchmark.
        entries: The searches.
        seed: Of the trainings: two searches that train one configuration see the same training.
        budget_j: Of each search, by the source it believes in.
    """
    searches = [_Search(entry, Ledger(budget_j)) for entry in entries]
    while live := [search for search in searches if search.ask is not None]:
        configs = [arena.atlas.decode(search.ask.genes) for search in live if search.ask]
        worth = arena.worth([config for some in configs for config in some])
        ends = np.cumsum([len(some) for some in configs])
        shares = np.concatenate([np.full(len(s.ask.genes), s.ask.share) for s in live if s.ask])
        epochs = np.maximum(1, np.rint(worth.epochs * shares).astype(np.int64))
        seen = arena.see(
            [config for some in configs for config in some],
            epochs,
            worth.epochs,
            [search.entry.source for search, some in zip(live, configs, strict=True) for _ in some],
            seed,
        )
        for search, some, end in zip(live, configs, ends, strict=True):
            rows = slice(end - len(some), end)
            search.go_on(some, epochs[rows], worth.part(rows), seen.part(rows))
    return [search.trace for search in searches]


class _Search:
    """A search under way.

    Attributes:
        ask: What it wants trained; None when it has ended.
    """

    def __init__(self, entry: Entry, ledger: Ledger) -> None:
        self.entry, self.ledger = entry, ledger
        self.trace = Trace(ledger)
        self._begun: dict[str, _Training] = {}
        self._free = 0
        self._generator = entry.method(entry.task)
        self.ask: Ask | None = next(self._generator, None)

    def go_on(
        self, configs: list[Config], epochs: NDArray[np.int64], worth: Worth, seen: Seen
    ) -> None:
        """Train what was asked for, as far as the budget lasts, and ask again."""
        before_j = self.ledger.spent_j
        costs = self._train(configs, epochs, worth, seen)
        self._free = self._free + len(configs) if self.ledger.spent_j == before_j else 0
        self.ask = None
        if not self.ledger.empty and self._free < FREE:
            with contextlib.suppress(StopIteration):
                self.ask = self._generator.send(costs)
        if self.ask is None:
            self._generator.close()

    def _train(
        self, configs: list[Config], epochs: NDArray[np.int64], worth: Worth, seen: Seen
    ) -> Floats:
        costs = np.full(seen.costs.shape, np.nan)
        for i, config in enumerate(configs):
            if not worth.inside[i]:
                self.trace.refused += 1
                continue
            training = self._begun.setdefault(identity(config), _Training())
            epoch = int(epochs[i])
            if epoch > training.epoch:
                if not self._pay(training, epoch, float(seen.spent_j[i]), float(seen.true_j[i])):
                    break
                if epoch == worth.epochs[i]:
                    self._ended(config, i, worth, seen)
            # A configuration that was trained so far before is not trained again: it is known.
            costs[i] = training.costs.setdefault(epoch, seen.costs[i])
        return costs

    def _pay(self, training: _Training, epoch: int, spent_j: float, true_j: float) -> bool:
        if not self.ledger.charge(spent_j - training.spent_j, true_j - training.true_j):
            return False
        self.trace.epochs += epoch - training.epoch
        training.epoch, training.spent_j, training.true_j = epoch, spent_j, true_j
        return True

    def _ended(self, config: Config, i: int, worth: Worth, seen: Seen) -> None:
        trace = self.trace
        trace.networks.append(worth.networks[i])
        trace.configs.append(config)
        trace.seen.append(seen.costs[i])
        trace.worth.append(worth.costs[i])
        trace.seen_j.append(float(seen.spent_j[i]))
        trace.worth_j.append(float(worth.energy_j[i]))
        trace.spent_j.append(self.ledger.spent_j)
        trace.true_j.append(self.ledger.true_j)
