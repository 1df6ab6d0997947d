"""The reader printed in docs/ingest.md works as it stands."""

import re
from pathlib import Path

import pytest

from wattproof.errors import WattproofError
from wattproof.ingest import Ingested

PAGE = Path(__file__).resolve().parents[2] / "docs" / "ingest.md"


@pytest.fixture
def ingest():
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(next(block for block in blocks if "def ingest" in block), names)
    return names["ingest"]


def test_the_example_reader(ingest, tmp_path):
    (tmp_path / "power.csv").write_text("time_ms,watts\n1000,5.5\n2000,\n")
    data = ingest(tmp_path)
    assert isinstance(data, Ingested)
    rows = data.samples.select(["start_ns", "value", "status"]).to_pylist()
    assert rows == [
        {"start_ns": 1_000_000_000, "value": 5.5, "status": "ok"},
        {"start_ns": 2_000_000_000, "value": None, "status": "missing"},
    ]
    assert data.windows.num_rows == 0


def test_tables_of_a_wrong_shape_are_refused(ingest, tmp_path):
    (tmp_path / "power.csv").write_text("time_ms,watts\n1000,5.5\n")
    data = ingest(tmp_path)
    with pytest.raises(WattproofError, match="lacks the column 'source'"):
        Ingested(**{**data.tables(), "samples": data.samples.drop_columns("source")})
