"""Loads that are commands, their mistakes, and what the command says of a user's mistakes."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from wattproof import sensing
from wattproof.characterise import store
from wattproof.characterise.channel import Finding
from wattproof.characterise.loads import CommandLoad, play, wave_of
from wattproof.characterise.measure import Run, Target
from wattproof.characterise.pattern import Block
from wattproof.characterise.text import table
from wattproof.characterise.wave import PartTimeWave
from wattproof.cli.characterise import characterise
from wattproof.errors import WattproofError
from wattproof.sensing import SensorDescription

POLITE = """
import sys, time
print("ready", flush=True)
for line in sys.stdin:
    print(line.strip(){stamp}, flush=True)
"""


def load(code: str) -> CommandLoad:
    return CommandLoad([sys.executable, "-c", code], "test load")


@pytest.mark.parametrize("stamp", ["", ", time.monotonic_ns()"])
def test_command_is_switched_and_its_instants_count(stamp: str) -> None:
    player = load(POLITE.format(stamp=stamp))
    player.start()
    try:
        before_ns = time.monotonic_ns()
        edges, spans = play(player, [Block("wave", ((0.05, True), (0.05, False)) * 3)])
    finally:
        player.stop()
    assert [high for _, high in edges] == [False, True, False, True, False, True, False]
    wave = wave_of(edges, edges[0][0])
    assert wave.t_s[-1] == pytest.approx(0.25, abs=0.2)
    assert all(before_ns < at < time.monotonic_ns() for at, _ in edges)
    assert spans[0][0] == "wave"
    assert spans[0][2] - spans[0][1] == 300_000_000


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('hello', flush=True); input()", "said 'hello' and not 'ready' first"),
        ("import sys; sys.exit('no GPU memory left')", "ended (it said: no GPU memory left)"),
        (POLITE.format(stamp=", 12345"), "an instant of 12345, which is not CLOCK_MONOTONIC"),
        ("print('ready', flush=True); input(); print('what', flush=True); input()", "'what'"),
        ("print('ready', flush=True)", "ended"),
    ],
)
def test_command_that_breaks_the_protocol(code: str, words: str) -> None:
    player = load(code)

    def use() -> None:
        player.start()
        for _ in range(3):
            player.switch(True)
            time.sleep(0.05)

    with pytest.raises(WattproofError) as caught:
        use()
    player.stop()
    assert words in str(caught.value)
    assert "docs/characterise.md" in str(caught.value)


def test_command_that_is_not_there() -> None:
    with pytest.raises(WattproofError, match="cannot be started"):
        CommandLoad(["/nowhere/load"]).start()


def test_load_that_ignores_its_end_is_ended() -> None:
    """A program that does not care about the end of its input is terminated."""
    player = load("print('ready', flush=True)\nimport time\ntime.sleep(600)")
    player.start()
    process = player._process
    assert process is not None
    begin = time.monotonic()
    player.stop()
    assert process.poll() is not None
    assert time.monotonic() - begin < 15


FAKE_TORCH = """
import time
float16 = "float16"
device = randn = empty_like = lambda *a, **k: None
mm = lambda a, b, out: time.sleep({product_s})
class cuda:
    is_available = staticmethod(lambda: {there})
    synchronize = staticmethod(lambda: None)
"""


def cuda_load(folder: Path, there: bool, product_s: float = 0.001) -> CommandLoad:
    """The CUDA load with a stand-in for torch, whose product takes its time."""
    code = FAKE_TORCH.format(there=there, product_s=product_s)
    (folder / "torch.py").write_text(code, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-m", "wattproof.characterise.cuda_load"]
    return CommandLoad(command, "CUDA", env=env)


def test_cuda_load_keeps_the_protocol_while_it_works(tmp_path: Path) -> None:
    """An edge is late by a turn of work at most (and by the machine's other work)."""
    player = cuda_load(tmp_path, there=True, product_s=0.01)
    player.start()
    try:
        delays = []
        for high in (True, False) * 5:
            asked_ns = time.monotonic_ns()
            delays.append((player.switch(high) - asked_ns) / 1e9)
            time.sleep(0.05)
    finally:
        player.stop()
    assert sorted(delays)[5] < 0.05
    assert min(delays) > 0
    assert player._process is not None
    assert player._process.returncode == 0


def test_cuda_load_without_cuda(tmp_path: Path) -> None:
    with pytest.raises(WattproofError, match=r"torch sees no CUDA GPU here.*give a load of your"):
        cuda_load(tmp_path, there=False).start()


# ------------------------------------------------------------------------------- the command


def test_mistake_is_one_sentence(tmp_path: Path) -> None:
    call = [sys.executable, "-c", "from wattproof.cli import main; main()", "characterise"]
    done = subprocess.run(
        [*call, "--seconds", "3"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr == "wattproof: Option --seconds: 3 is not between 15 and 3600.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"out": "nowhere/x.json"}, "its folder is not there"),
        ({"figure": "nowhere/x.png"}, "the folder of .* is not there"),
        ({"out": "simulated.json"}, "holds simulated sensors; write real ones to another file"),
        ({"node": "moon"}, "Option --node: 'moon'"),
        ({"node": "virtual", "gpu": "7"}, "Option --gpu: '7' is no GPU of the node"),
        ({"node": "virtual", "load": "x"}, "the virtual node has a load of its own"),
        ({"node": "virtual", "preset": "lapto"}, "Did you mean 'laptop'"),
    ],
)
def test_mistakes_of_a_user(tmp_path: Path, options: dict[str, str], words: str) -> None:
    sensing.save(tmp_path / "simulated.json", [], {"simulated": True, "gpus": {}})
    defaults = {"gpu": None, "seconds": 15.0, "load": "auto", "node": "real", "preset": "laptop"}
    paths = {"out": tmp_path / options.get("out", "sensors.json"), "figure": None}
    if "figure" in options:
        paths["figure"] = tmp_path / options["figure"]
    with pytest.raises(WattproofError, match=words):
        characterise(**{**defaults, **options, **paths, "seed": 0})  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["simulated.json"]


@pytest.mark.slow
def test_virtual_node_is_labelled_and_right(tmp_path: Path) -> None:
    """Its truth: 25 of 100 ms, averages of 1 s, a ring of 20 ms, readable after 5 ms."""
    call = [sys.executable, "-c", "from wattproof.cli import main; main()", "characterise"]
    arguments = ["--node", "virtual", "--preset", "paper", "--seconds", "15", "--gpu", "1"]
    done = subprocess.run([*call, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("SIMULATED: ")
    path = tmp_path / "sensors.json"
    assert json.loads(path.read_text())["about"]["simulated"] is True
    found = {channel: sensor for (_, channel), sensor in sensing.load(path).items()}
    truth = {
        "power_instant": (0.1, 0.025, 0.005),
        "power_average": (0.1, 1.0, 0.005),
        "energy": (0.1, 0.1, 0.005),
        "power_samples": (0.02, 0.02, 0.0),
    }
    for name, (update_s, window_s, delay_s) in truth.items():
        assert found[name].update_s == pytest.approx(update_s, rel=0.05)
        assert found[name].window_s == pytest.approx(window_s, rel=0.20)
        assert found[name].delay_s == pytest.approx(delay_s, abs=0.020)


# ------------------------------------------------------------------------- the file, the words


def description(device: str, channel: str = "energy") -> SensorDescription:
    u = {"update_s": 1e-5, "window_s": 0.0003, "delay_s": 0.002}
    return SensorDescription(device, channel, 0.1, 0.025, 0.03, "boxcar", u)


def run_of(device: str, simulated: bool = False) -> tuple[Run, Target]:
    wave = wave_of([(0, False)], 0)
    finding = Finding(description(device), remarks=("the sensor sees 25% of the time",))
    return Run((finding,), wave, 0, (), simulated), Target(device, "A GPU", "580", 0, None)


def test_file_keeps_other_gpus_and_replaces_the_same(tmp_path: Path) -> None:
    path = tmp_path / "sensors.json"
    for device in ("GPU-1", "GPU-2", "GPU-1"):
        store.write(path, *run_of(device), {"load": "test"})
    assert set(sensing.load(path)) == {("GPU-1", "energy"), ("GPU-2", "energy")}
    about = json.loads(path.read_text())["about"]
    assert set(about["gpus"]) == {"GPU-1", "GPU-2"}
    with pytest.raises(WattproofError, match="holds real sensors; write simulated ones"):
        store.write(path, *run_of("GPU-3", simulated=True), {})


def test_table_in_words() -> None:
    refused = SensorDescription("GPU-1", "power_average", refused="Nothing can be told: why.")
    finding, _ = run_of("GPU-1")
    lines = table([*finding.findings, Finding(refused)]).splitlines()
    cells = re.split("  +", lines[1])
    assert cells == ["energy", "100.000 ± 0.010 ms", "25.0 ± 0.3 ms", "30 ± 2 ms", "boxcar", "25%"]
    assert lines[2].split() == ["power_average", "?", "?", "?", "?"]
    assert lines[3] == "energy: The sensor sees 25% of the time."
    assert lines[4] == "power_average: Nothing can be told: why."


def test_part_time_average_counts_updates() -> None:
    """Three updates of 25 in 100 ms, the load on for the middle one's window only."""
    wave = PartTimeWave(np.array([0.870, 0.905]), np.array([1.0, 0.0]), period_s=0.1, seen_s=0.025)
    for end_s in (np.array([1.0]), np.array([1.0, 1.1, 1.033])):  # on and off the grid
        assert wave.boxcar(end_s, 0.3)[0] == pytest.approx(1 / 3)
        assert wave.boxcar(end_s, 0.15)[0] == pytest.approx(0.5 / 1.5)
    weights = np.exp(-np.arange(7) / 2)
    assert wave.lag(np.array([1.0]), 0.2)[0] == pytest.approx(
        weights[1] / np.exp(-np.arange(13) / 2).sum(), rel=1e-6
    )
