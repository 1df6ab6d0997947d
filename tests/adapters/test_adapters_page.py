"""The examples of docs/adapters.md run as they stand."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "adapters.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"## ([^\n]+)\n\n```python\n(.*?)```", PAGE, re.DOTALL)


def test_each_adapter_has_its_example() -> None:
    modules = {path.stem for path in (ROOT / "workflow/wattproof/adapters").glob("*.py")}
    modules -= {"__init__", "points", "view"}
    shown = {
        name for _, code in EXAMPLES for name in re.findall(r"adapters(?:\.| import )(\w+)", code)
    }
    assert shown == modules


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
def test_examples_run(
    artefact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str, code: str
) -> None:
    (tmp_path / "results" / "demo").mkdir(parents=True)
    (tmp_path / "results" / "demo" / "benchmark").symlink_to(artefact)
    monkeypatch.chdir(tmp_path)  # SMAC writes where it is called
    monkeypatch.setenv("SYNETUNE_FOLDER", str(tmp_path))
    exec(compile(code, f"docs/adapters.md: {title}", "exec"), {})
