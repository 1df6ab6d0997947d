"""Space wide uses the virtual GPU's power range, EA-HAS-Bench's CIFAR-10 space a part of it."""

import pandas as pd
import pytest
import yaml
from campaigns import ROOT, Campaign

from wattproof import tables

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

USAGE = "results/mini/tables/usage.parquet"


def span(folder, raw: dict) -> float:
    campaign = Campaign(folder)
    done = campaign.snakemake(USAGE, config=yaml.safe_dump(raw | {"campaign": "mini"}))
    assert done.returncode == 0, done.stderr[-3000:]
    usage: pd.DataFrame = tables.read_frame(campaign.results / "tables" / "usage.parquet", "usage")
    return float(usage[usage.source == "nvml"].iloc[0].span)


def raw(name: str) -> dict:
    found: dict = yaml.safe_load((ROOT / f"config/campaigns/{name}.yaml").read_text("utf-8"))
    return found


def test_wide_reaches_the_bar_and_the_other_space_stays_below_its_own(tmp_path):
    folders = {name: tmp_path / name for name in ("pilot", "wide", "ea_has")}
    for folder in folders.values():
        folder.mkdir()
    campaign = Campaign(folders["pilot"])
    pilot = yaml.safe_dump(raw("wide_pilot") | {"campaign": "mini"})
    done = campaign.snakemake("results/mini/tables/dataset.parquet", config=pilot)
    assert done.returncode == 0, done.stderr[-3000:]
    pilots = folders["pilot"] / "results" / "mini"

    wide = raw("wide")
    wide["plan"]["pilot"] = str(pilots)
    assert span(folders["wide"], wide) >= 0.85

    narrow = raw("wide_pilot") | {"space": "ea_has_cifar10"}
    narrow["plan"] = {"runs": 60, "runs_per_recording": 20, "seed": 1}
    narrow["training"] |= {"precision": "amp", "feed": "loader", "shorten": 50}
    narrow["training"]["eval_batch_size"] = 1000
    assert span(folders["ea_has"], narrow) <= 0.40
