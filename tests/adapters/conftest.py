"""A small published benchmark, and what random search makes of it: what an optimiser must beat."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

# The synthetic campaign and its artefact are shared with other tests.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "surrogate"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmark"))

import surrogate_campaign as synthetic
from published_artefact import make_artefact
from random_draws import DRAWS, RandomSearch

import wattproof
from wattproof.benchmark.api import Benchmark


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # One quick family: what is proved here is the adapters, and not the surrogates.
    settings = {"families": ["linear"], "splits": 1, "growth": 0}
    return make_artefact(synthetic.make(), tmp_path_factory.mktemp("published"), **settings)


@pytest.fixture(scope="session")
def bench(artefact: Path) -> Benchmark:
    return wattproof.load(artefact)


@pytest.fixture(scope="session")
def at_random(bench: Benchmark) -> RandomSearch:
    results = [bench.query(bench.sample(seed)) for seed in range(DRAWS)]
    return RandomSearch(np.array([(1 - r.accuracy.value, r.energy_j.value) for r in results]))


@pytest.fixture(scope="session")
def no_network(bench: Benchmark) -> dict[str, object]:
    """A point of the space that builds no allowed network."""
    return next(config for config in _box(bench, 100) if not _builds(bench, config))


@pytest.fixture(scope="session")
def box(bench: Benchmark) -> Callable[[int], list[dict[str, object]]]:
    """Draws from the whole box, networks or not."""
    return lambda n: _box(bench, n)


def _box(bench: Benchmark, n: int) -> list[dict[str, object]]:
    from wattproof.adapters import points

    space = points.own_space(bench)
    space.seed(0)
    plain = points.Points(bench).plain
    return [plain(dict(config)) for config in space.sample_configuration(n)]


def _builds(bench: Benchmark, config: dict[str, object]) -> bool:
    try:
        bench.query(config)
    except wattproof.errors.WattproofError:
        return False
    return True
