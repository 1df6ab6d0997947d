"""`wattproof space` as a user types it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def wattproof(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from wattproof.cli import main; main()", "space", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "ea_has_cifar10",
            [
                "334 distinct networks",
                "180360 distinct configurations (network and recipe)",
                "2031321 of 92970570 grid points build one of these networks",
            ],
        ),
        (
            "ea_has_tinyimagenet",
            [
                "38516 distinct networks",
                "20798640 distinct configurations (network and recipe)",
                "149900534 of 278540570 grid points build one of these networks",
            ],
        ),
    ],
)
def test_counts_of_the_facts_page(name: str, lines: list[str]) -> None:
    """Facts page ``ea_has_bench.md``, section 3."""
    done = wattproof(name, "--count")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == lines


def test_draws_name_their_networks() -> None:
    done = wattproof("ea_has_cifar10", "--sample", "3", "--seed", "5")
    drawn = [json.loads(line) for line in done.stdout.splitlines()]
    assert len({row["network_key"] for row in drawn}) == 3
    assert all(row["epochs"] in (50, 100, 200) for row in drawn)


def test_an_unknown_space_is_one_sentence() -> None:
    done = wattproof("ea_has_cifar", "--count")
    assert done.returncode != 0
    assert "Did you mean 'ea_has_cifar10'" in done.stderr
    assert "Traceback" not in done.stderr
