"""Write envs/*.yaml (for sites that deploy with conda) from requirements.lock.

Run by `make lock`. tests/test_envs.py checks that the pins agree.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def environment(lock: str) -> str:
    """Return a conda environment that installs the locked versions with pip."""
    pins = [line for line in lock.splitlines() if line and not line.startswith("#")]
    lines = [
        "# Written by envs/generate.py from requirements.lock; do not edit.",
        "channels:",
        "  - conda-forge",
        "  - nodefaults",
        "dependencies:",
        "  - python=3.11",
        "  - pip",
        "  - pip:",
        *[f"      - {pin}" for pin in pins],
        # Paths in a pip section are relative to this file.
        "      - -e ..",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    text = environment((HERE.parent / "requirements.lock").read_text(encoding="utf-8"))
    (HERE / "workflow.yaml").write_text(text, encoding="utf-8")
    sys.stdout.write(f"wrote {HERE / 'workflow.yaml'}\n")
