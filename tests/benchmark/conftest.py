"""A benchmark published from a synthetic campaign, once for all tests."""

import sys
from pathlib import Path

import pytest

# The synthetic campaign is shared with the tests of the surrogate.
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "surrogate"))

import surrogate_campaign as synthetic
import tiny_campaign
from published_artefact import make_artefact

import wattproof
from wattproof.benchmark.api import Benchmark


@pytest.fixture(scope="session")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_artefact(synthetic.make(), tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archive of a campaign of the virtual node that was made offline."""
    return tiny_campaign.make(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def bench(artefact: Path) -> Benchmark:
    return wattproof.load(artefact)


@pytest.fixture(scope="session")
def packed(artefact: Path) -> Path:
    """The same benchmark as one file."""
    return artefact.with_name(f"{artefact.name}.wattproof.zip")
