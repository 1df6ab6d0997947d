"""The conda file has the pins of the lock file, and the lock file the packages of pyproject."""

import re
import runpy
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_conda_environment_is_generated_from_the_lock() -> None:
    generate = runpy.run_path(str(ROOT / "envs" / "generate.py"))
    assert (ROOT / "envs" / "workflow.yaml").read_text(encoding="utf-8") == generate["environment"](
        LOCK
    )


def test_every_declared_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        declared += extra
    locked = {line.split("==")[0].lower().replace("_", "-") for line in LOCK.splitlines()}
    for requirement in declared:
        name = re.split(r"[<>=\[ ]", requirement)[0].lower().replace("_", "-")
        assert name in locked, f"{name} is in pyproject.toml but not in requirements.lock"
