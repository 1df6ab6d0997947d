"""What a faulty source reports is what was measured of it, and what cannot be known is said."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from wattproof import config, space
from wattproof.errors import WattproofError
from wattproof.search import Settings
from wattproof.search.methods import METHODS
from wattproof.search.published import ALIKE, Published, Ratios

ROOT = Path(__file__).resolve().parents[2]


def runs(n: int = 400) -> pd.DataFrame:
    """Runs from 100 to 300 W; of every fourth nvidia-smi lost what is above 100 W."""
    power_w = np.linspace(100.0, 300.0, n)
    time_s = np.full(n, 10.0)
    reported_w = np.where(np.arange(n) % 4 == 0, 100.0, power_w)
    return pd.DataFrame(
        {
            "status": "ok",
            "time_s": time_s,
            "gpu_energy_j": power_w * time_s,
            "node_energy_j": 1000.0 * time_s,
            "smi_energy_j": reported_w * time_s,
            "energy_j_code_carbon": 600.0 * time_s,
        }
    )


def frames(power_w: float, n: int = 2000) -> tuple[pd.DataFrame, pd.DataFrame]:
    configs = space.get("regnet_demo").sample(n, 0)
    found = pd.DataFrame({"energy_j": np.full(n, 50.0), "power_w": np.full(n, power_w)})
    return pd.DataFrame(configs), found


def test_reports_have_the_measured_ratios_of_runs_of_that_power() -> None:
    ratios = Ratios.learn(runs(), "gpu", "smi")
    for power_w in (120.0, 200.0, 280.0):
        frame, found = frames(power_w)
        got = ratios.report(frame, found, 1) / 50.0
        lost = got < 0.99
        assert lost.mean() == pytest.approx(0.25, abs=0.05)
        assert got[lost].mean() == pytest.approx(100 / power_w, abs=0.05)
        np.testing.assert_allclose(got[~lost], 1.0)
    edge = ratios.report(*frames(1e4), 1) / 50.0
    assert edge.min() == pytest.approx(1 / 3, abs=0.03), "the runs nearest to it, no further"


def test_a_report_depends_on_configuration_and_seed_alone() -> None:
    ratios = Ratios.learn(runs(), "gpu", "smi")
    frame, found = frames(200.0, 300)
    one = ratios.report(frame, found, 1)
    order = np.random.default_rng(0).permutation(300)
    again = ratios.report(frame.iloc[order], found.iloc[order], 1)
    np.testing.assert_array_equal(one[order], again)
    np.testing.assert_array_equal(one, ratios.report(frame.assign(epoch=1), found, 1))
    assert (one != ratios.report(frame, found, 2)).any()


def test_what_cannot_be_believed_is_said_in_a_sentence() -> None:
    with pytest.raises(WattproofError, match="No source 'watson' is known in this campaign"):
        Ratios.learn(runs(), "gpu", "watson")
    with pytest.raises(WattproofError, match=r"'code_carbon' tells the energy of the node.*gpu"):
        Ratios.learn(runs(), "gpu", "code_carbon")
    with pytest.raises(WattproofError, match="'smi' tells the energy of the gpu"):
        Ratios.learn(runs(), "node", "smi")
    unknown = runs().assign(smi_energy_j=np.nan)
    with pytest.raises(WattproofError, match="Only 0 runs have an energy by source 'smi'"):
        Ratios.learn(unknown, "gpu", "smi")
    node = Ratios.learn(runs(), "node", "code_carbon")
    np.testing.assert_allclose(node.ratio, 0.6)


def test_few_runs_are_all_alike() -> None:
    ratios = Ratios.learn(runs(ALIKE // 2), "gpu", "smi")
    frame, found = frames(200.0, 50)
    assert set(np.round(ratios.report(frame, found, 1) / 50.0, 6)) <= set(np.round(ratios.ratio, 6))


def test_settings_are_those_of_the_campaign() -> None:
    section = {"methods": ["random", "tpe"], "against": [], "budget": 5, "seed": 3}
    found = Settings.of({**section, "report": True})
    assert (found.methods, found.against, found.budget, found.seed) == (
        ("random", "tpe"), (), 5, 3,
    )  # fmt: skip
    assert found.jobs(1) == [("random", "gpu", 1), ("tpe", "gpu", 1)]


class Stub:
    """A benchmark that answers these energies."""

    def __init__(self, *energies: str) -> None:
        self.energies = energies
        self.dataset = runs()


def opened(*energies: str) -> Published:
    published = Published(Path("made.zip"))
    published.__dict__["bench"] = Stub(*energies)
    return published


def test_settings_are_limited_to_what_the_benchmark_knows() -> None:
    published, settings, missing = opened("node", "gpu", "smi").limit(
        Settings(against=("smi", "watson", "code_carbon"))
    )
    assert settings.against == published.against == ("smi",)
    assert published.energy == "gpu"
    assert len(missing) == 2
    assert "watson" in missing[0]
    with pytest.raises(WattproofError, match=r"made\.zip.*'gpu'.*'search\.energy' to node"):
        opened("node", "smi").limit(Settings())
    with pytest.raises(WattproofError, match="no calibrated energies by source 'smi'"):
        opened("gpu", "smi").limit(Settings(energy="smi"))


def test_only_the_path_goes_to_another_process() -> None:
    there = pickle.loads(pickle.dumps(opened("gpu")))
    assert there == Published(Path("made.zip"))
    assert "bench" not in there.__dict__


def test_the_section_decides_whether_the_report_shows_the_search() -> None:
    schema = config.load_schema(ROOT / "config/schema/campaign.schema.json")

    def section(raw: dict) -> dict:
        return config.validate({"campaign": "made", **raw}, schema, "made.yaml")["search"]

    assert not section({})["report"]
    assert section({"search": {}})["report"]
    assert section({"search": {"seeds": 3}})["seeds"] == 3
    assert Settings.of(section({})) == Settings(), "the schema's defaults are the module's"
    assert section({})["methods"] == list(METHODS)
    with pytest.raises(WattproofError, match=r"search\.methods"):
        section({"search": {"methods": ["gradient_descent"]}})
