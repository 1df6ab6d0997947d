"""The page on trust: its examples run, and its figures are those of the code."""

import contextlib
import io
import re
from pathlib import Path

import pandas as pd

from wattproof.surrogate import conformal, growth, noise, novelty

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "trust.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_examples_run(tmp_path: Path, monkeypatch) -> None:
    table, arrays = blocks()
    file = Path("results/demo/tables/growth.parquet")
    (tmp_path / file).parent.mkdir(parents=True)
    rows = pd.DataFrame({"kind": ["measured", "expected"], "words": ["", "Stop here: …"]})
    rows.to_parquet(tmp_path / file)
    monkeypatch.chdir(tmp_path)
    for code, wanted in ((table, "Stop here: …\n"), (arrays, "None\n")):
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(code, "docs/trust.md", "exec"), {})
        assert wanted in said.getvalue()


def test_the_figures_of_the_page_are_those_of_the_code() -> None:
    assert f"fewer than {noise.MIN_FREEDOM} degrees of freedom" in PAGE
    assert f"unless {noise.MIN_RESAMPLED} or more" in PAGE.replace("\n", " ")
    assert f"each length has {conformal.OF_A_LENGTH} networks" in PAGE
    assert f"{novelty.INSIDE:.0%}".replace("%", " %") + " of trained configurations" in PAGE
    assert f"brought them together {novelty.NEVER:.0f} times" in PAGE.replace("\n", " ")
    assert "1/16, 1/8, 1/4, 1/2 and all" in PAGE
    assert growth.FRACTIONS == (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
    assert f"settles at {growth.LIMITED} times the noise" in PAGE
