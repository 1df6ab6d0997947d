"""A real Slurm, started once for the tests of a file; only one at a time on a machine."""

import os
from collections.abc import Iterator
from pathlib import Path

import cluster
import pytest
from cluster import Cluster, NotHereError
from slurm_campaign import SlurmCampaign


@pytest.fixture(scope="module")
def slurm() -> Iterator[Cluster]:
    """The test Slurm with idle nodes; skipped where it cannot be had, unless that is forbidden."""
    running = Cluster(nodes=5, slots=4)
    try:
        cluster.check()
        with cluster.alone(wait=True):
            cluster.install()
            running.start()
            try:
                yield running
            finally:
                cluster.stop()
    except NotHereError as error:
        if os.environ.get("WATTPROOF_REQUIRE_SLURM"):
            pytest.fail(f"WATTPROOF_REQUIRE_SLURM is set, but {error}")
        pytest.skip(f"no Slurm for this test: {error}")


@pytest.fixture
def slurm_campaign(tmp_path: Path) -> Iterator[SlurmCampaign]:
    """An empty folder for a campaign; workflows started there are ended."""
    made = SlurmCampaign(tmp_path)
    yield made
    made.end()
