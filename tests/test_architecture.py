"""The floors of docs/architecture.md: a room imports only rooms that stand earlier in the list."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "workflow" / "wattproof"
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def floors() -> list[str]:
    block = re.search(r"## Floors.*?```\n(.*?)```", DOCUMENT, re.DOTALL)
    assert block, "docs/architecture.md lost its list of floors"
    return block.group(1).replace("|", " ").split()


ORDER = floors()
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module]
            if node.module == "wattproof":
                names = [f"wattproof.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {n.split(".")[1] for n in names if n.startswith("wattproof.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_from_below(path: Path) -> None:
    own = room(path)
    assert own in ORDER, f"room '{own}' is missing from docs/architecture.md"
    for other in imported_rooms(path) - {own, "load", "__version__"}:
        assert ORDER.index(other) < ORDER.index(own), f"{path}: '{own}' must not import '{other}'"


def test_import_is_light() -> None:
    """Case 7 of the review list: importing the package pulls in no heavy library."""
    heavy = ["torch", "pandas", "snakemake", "matplotlib", "lightgbm", "sklearn", "optuna", "pymoo"]
    code = f"import sys, wattproof; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_test_modules_have_names_of_their_own() -> None:
    """Pytest puts each test's folder on the path: of two modules of one name, one is lost."""
    seen: dict[str, Path] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path.name not in ("conftest.py", "__init__.py"):
            assert path.name not in seen, f"{path} and {seen[path.name]} have one name; rename one"
            seen[path.name] = path
