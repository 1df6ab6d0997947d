"""The example of docs/surrogate.md runs."""

import subprocess
import sys
from pathlib import Path

import surrogate_campaign as synthetic

from wattproof import tables

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "surrogate.md").read_text(encoding="utf-8")


def test_example(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "demo" / "tables"
    folder.mkdir(parents=True)
    campaign = synthetic.make(runs=24, replicates=2)
    tables.write(campaign.dataset, "dataset", folder / "dataset.parquet", synthetic.META)
    tables.write(campaign.curves, "curves", folder / "curves.parquet", synthetic.META)
    (code,) = (part.partition("\n")[2] for part in PAGE.split("```")[1::2])
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert "smi_energy_j" in out.stdout
    assert (tmp_path / "surrogate" / "models" / "surrogate.onnx").exists()
