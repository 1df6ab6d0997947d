"""The small campaign is run once for all tests of the workflow."""

from collections.abc import Callable
from pathlib import Path

import pytest
from campaigns import MINI, Campaign


@pytest.fixture
def empty_campaign(tmp_path: Path) -> Campaign:
    return Campaign(tmp_path)


@pytest.fixture(scope="session")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    made = Campaign(tmp_path_factory.mktemp("campaign"))
    done = made.snakemake()
    assert done.returncode == 0, done.stderr[-6000:]
    return made


@pytest.fixture
def rules_to_run(campaign: Campaign) -> Callable[..., set[str]]:
    """Rules that Snakemake would run now, by a dry run."""

    def dry_run(config: str = MINI) -> set[str]:
        done = campaign.snakemake("--dry-run", config=config)
        assert done.returncode == 0, done.stderr
        lines = (done.stdout + done.stderr).splitlines()
        names = {line.split()[1].rstrip(":") for line in lines if line.startswith(("rule ",))}
        return names | {
            line.split()[1].rstrip(":") for line in lines if line.startswith("localrule ")
        }

    return dry_run
