"""Our named baselines of Code Carbon 2.x against the library itself (DESIGN 13.14).

2.8.4 cannot live beside the release that wattproof records with, so it gets an environment of its
own in a temporary folder.
"""

import json
import subprocess
import venv

import pytest
from assessment_node import HOST_2TIB, channels, node_powers, table, window

from wattproof import calibration, offsocket
from wattproof.calibration.code_carbon import ram_2x_w

PINNED = "codecarbon==2.8.4"
SIZES_GIB = (4, 15.5, 62.7, 251.5, 1007.5, 2015, 2048)

SCRIPT = """
import json, pathlib, sys, types
from codecarbon._version import __version__
from codecarbon.core.units import Time
from codecarbon.external import hardware

root = pathlib.Path(sys.argv[1])

def domain(folder, name, uj):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(name)
    (folder / "energy_uj").write_text(str(uj))
    (folder / "max_energy_range_uj").write_text("262143328850")

def powercap(packages_uj, dram_uj):
    for i, uj in enumerate(packages_uj):
        domain(root / f"intel-rapl:{i}", f"package-{i}", uj)
        domain(root / f"intel-rapl:{i}" / f"intel-rapl:{i}:0", "dram", dram_uj)

memory = {}
for gib in json.loads(sys.argv[2]):
    size = types.SimpleNamespace(total=int(gib * 2**30))
    hardware.psutil.virtual_memory = lambda size=size: size
    memory[gib] = hardware.RAM(tracking_mode="machine").total_power().W

powercap((10_000_000, 20_000_000), 5_000_000)
cpu = hardware.CPU(str(root), "intel_rapl", "any", 200, rapl_dir=str(root))
cpu.start()
# In ten seconds: packages 1000 and 1500 J, memory 700 J each.
powercap((1_010_000_000, 1_520_000_000), 705_000_000)
joules = cpu._get_energy_from_cpus(Time.from_seconds(10.0)).kWh * 3.6e6
constant = hardware.CPU(str(root), "constant", "any", 200).total_power().W
print(json.dumps({"version": __version__, "memory": memory, "cpu_j": joules, "flat_w": constant}))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("codecarbon")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    command = [python, "-m", "pip", "install", "--quiet", "--no-input", PINNED]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    if done.returncode:
        pytest.skip(f"pip cannot install {PINNED}: {done.stderr.strip().splitlines()[-1:]}")
    done = subprocess.run(
        [python, "-c", SCRIPT, folder / "powercap", json.dumps(SIZES_GIB)],
        capture_output=True, text=True, timeout=120, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_and_cpu_rules_are_the_librarys(library):
    assert library["version"] == "2.8.4"
    for gib in SIZES_GIB:
        assert library["memory"][str(gib)] == pytest.approx(ram_2x_w(gib), rel=1e-6)
    # Packages only: memory by RAPL is not summed.
    assert library["cpu_j"] == pytest.approx(2500.0)
    assert library["flat_w"] == pytest.approx(100.0)  # without RAPL: half of the CPU's TDP


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_our_baseline_adds_up_what_the_library_does(library):
    powers = node_powers(250.0, 140.0, [225.0, 75.0], 500.0)
    energy = table(window("r", powers, level="run", duration_s=10.0))
    found = calibration.calibrate(
        energy, channels(HOST_2TIB), offsocket.fit(energy), {"alpha": 0.05}
    ).estimates
    ours = found[found["estimator"] == "code_carbon_2x"]["energy_j"].item()
    theirs = library["cpu_j"] + 10.0 * (library["memory"]["2048"] + 225.0 + 75.0)
    assert ours == pytest.approx(theirs, rel=1e-6)
