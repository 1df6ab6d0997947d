"""The watch over the further processes of a run, with stand-ins instead of trainings."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from small_training import trained_weights

from wattproof.training import ranks
from wattproof.training.recipe import Recipe
from wattproof.training.team import Team

LOST = "PyTorch: Connection closed by peer"


@pytest.fixture
def stand_in(monkeypatch):
    """Returns a function: further processes run this code, with their number as `rank`."""
    monkeypatch.setattr(ranks, "SETTLE_S", 0.5)
    monkeypatch.setattr(ranks, "GRACE_S", 0.3)

    def arrange(code: str) -> None:
        start = "import json, os, sys, time; rank = int(sys.argv[2]); "
        monkeypatch.setattr(ranks, "command", lambda spec: [sys.executable, "-c", start + code])

    return arrange


def say(reason: str) -> str:
    return f"print(json.dumps({{'reason': {reason!r}}}), flush=True); sys.exit(3)"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            f"exec(time.sleep(0.2) or {say('out of memory')!r} if rank == 2 else {say(LOST)!r})",
            "process 2 (slot 7): out of memory",
        ),
        (
            f"os.kill(os.getpid(), 9) if rank == 3 else exec({say(LOST)!r})",
            "process 3 (slot 1) ended with signal 9",
        ),
        ("sys.exit(1) if rank == 1 else time.sleep(60)", "process 1 (slot 5) ended with exit stat"),
    ],
)
def test_the_cause_is_told_from_its_consequences(stand_in, code, reason):
    stand_in(code)
    heard = []
    stuck = threading.Event()

    def end(found: str) -> None:
        heard.append(found)
        stuck.set()

    with ranks.Ranks("spec.json", (4, 5, 7, 1), 0, end) as others:
        assert others.cause(LOST).startswith(reason)
        # What is no consequence was this process's own failure.
        assert others.cause("out of memory: here") == "out of memory: here"
        # The main thread goes on waiting: it is told to the one that watches.
        assert stuck.wait(10)
    assert heard[0].startswith(reason)


def test_nobody_is_blamed_when_the_run_is_over(stand_in):
    stand_in("time.sleep(60)")
    heard = []
    with ranks.Ranks("spec.json", (0, 1, 2), 0, heard.append):
        pass
    assert heard == []


def test_two_processes_learn_the_weights_that_one_learns():
    """Weights, averages and statistics; a last step of 16 and shares of 13 and 12 images."""
    recipe = Recipe(0.03, "sgd", "cos", 0, 25, 3, ema=True, precise_bn_images=50)
    alone = trained_weights(recipe, Team())
    store = ranks.meeting_point(2)
    code = (
        "from small_training import *; from wattproof.training import ranks\n"
        "from wattproof.training.team import Team\n"
        f"store = ranks.find_meeting_point({store.port}, 2)\n"
        f"trained_weights({recipe!r}, Team(1, 2), store)\n"
    )
    code = "from wattproof.training.recipe import Inference, Recipe\n" + code
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
    other = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path})
    together = trained_weights(recipe, Team(0, 2), store)
    assert other.wait(20) == 0
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, rtol=1e-3, atol=1e-4, msg=name)
