"""The paper's twin with its 500 runs: Table I and Figure 8 from nothing but mechanism.

Fewer runs are quicker, but their D depends on which networks were drawn (80 once gave 0.109).
"""

import pandas as pd
import pytest
import yaml
from campaigns import ROOT, Campaign

from wattproof import tables, verification

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

POINTS = 0.005
"""Errors of node energy: within half a percent point of the printed ones."""


def config() -> str:
    raw = yaml.safe_load((ROOT / "config/campaigns/paper_twin.yaml").read_text("utf-8"))
    raw["campaign"] = "mini"
    raw["plan"]["groups"] = [
        {"name": "smi", "runs": 500},
        {"name": "multi", "runs": 10, "setting": "ddp"},
    ]
    return str(yaml.safe_dump(raw))


@pytest.fixture(scope="module")
def twin(tmp_path_factory):
    campaign = Campaign(tmp_path_factory.mktemp("twin"))
    done = campaign.snakemake(config=config())
    assert done.returncode == 0, done.stderr[-3000:]
    return campaign.results


@pytest.fixture(scope="module")
def agreement(twin) -> pd.DataFrame:
    both = [twin / "tables" / f"{name}.parquet" for name in ("agreement", "estimator_agreement")]
    frame: pd.DataFrame = tables.read_frame(both, "agreement")
    return frame[frame.setting == "single"].set_index(["label", "level", "quantity"])


def test_nothing_is_wrong_with_the_measuring_itself(twin):
    found = verification.verify(twin)
    assert found.passed, str(found)
    assert found.energies["nvml_error"].abs().max() < 0.005
    assert found.energies["meter_error"].abs().max() < 0.003


def test_table_one(agreement):
    def d(label):
        return agreement.loc[(label, "epoch", "power"), "ks_d"]

    def r(label, level, kind="pearson"):
        return agreement.loc[(label, level, "energy"), kind]

    assert agreement.loc[("SMI", "epoch", "power"), "ks_reject"]
    assert r("SMI", "epoch") < 0.9
    assert r("SMI", "epoch", "spearman") < 0.75
    assert r("SMI", "run") > 0.95  # the flaw hides in whole trainings
    for label in ("SMI (corrected)", "NVML"):
        assert r(label, "epoch") > 0.95
        assert d(label) <= 0.10, label
        assert d(label) <= d("SMI") / 4, label
    few = agreement.loc[("SMI", "epoch", "energy"), "few_samples"]
    assert 0.25 < few < 0.5


def test_figure_eight(agreement):
    printed = {
        "Code Carbon 2.x, the job's GPUs": 0.103,
        "idle (upper bound)": 0.089,
        "prime load": 0.066,
        "stress (lower bound)": -0.036,
    }
    for label, error in printed.items():
        ours = agreement.loc[(label, "run", "energy"), "error_median"]
        assert ours == pytest.approx(error, abs=POINTS), label
        assert r_of(agreement, label) > 0.98


def r_of(agreement, label):
    return agreement.loc[(label, "epoch", "energy"), "pearson"]


def test_the_load_aware_estimator_holds_its_bar(twin):
    rows = tables.read_frame(twin / "tables" / "calibration.parquet", "calibration")
    row = rows.set_index("estimator").loc["load_aware"]
    assert row.error_max <= 0.03


def test_the_span_is_that_of_the_paper(twin):
    usage = tables.read_frame(twin / "tables" / "usage.parquet", "usage")
    single = usage[(usage.setting == "single") & (usage.source == "nvml")].iloc[0]
    assert 140 < single.min_w < 175
    assert 240 < single.max_w < 310
    assert single.span < 0.25
