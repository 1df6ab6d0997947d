"""The powercap tree of the tests, read by the real source."""

import time
from pathlib import Path

import pytest
from powercap_tree import PowercapTree
from stub_nvml import PowerScript

from wattproof.sources.base import Status
from wattproof.sources.rapl import RaplSource


def test_tree_looks_like_the_kernels(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, packages=2, psys=True, mmio=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "intel-rapl",
        "intel-rapl-mmio:0",
        "intel-rapl-mmio:1",
        "intel-rapl:0",
        "intel-rapl:0:0",
        "intel-rapl:0:1",
        "intel-rapl:0:2",
        "intel-rapl:1",
        "intel-rapl:1:0",
        "intel-rapl:1:1",
        "intel-rapl:1:2",
        "intel-rapl:2",
    ]
    assert (tmp_path / "intel-rapl:0:2" / "name").read_text() == "dram\n"
    assert (tmp_path / "intel-rapl:2" / "name").read_text() == "psys\n"
    assert len(tree.files("package-1")) == 2
    assert "package-1/dram" in tree.domains


def test_source_follows_the_counters_over_a_wrap(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, parts=("dram",), start_uj=10)
    tree.set("package-0", tree.range_uj - 50_000_000)
    source = RaplSource(tmp_path, simulated=True)
    source.open()
    before = {r.channel: r.value for r in source.read()}
    tree.add("package-0", 100.0)
    after = {r.channel: r.value for r in source.read()}
    tree.garble("package-0/dram", "")
    bad = {r.channel: r.status for r in source.read()}
    source.close()
    assert before["cpu0.package"] == pytest.approx((tree.range_uj - 50_000_000) / 1e6)
    assert after["cpu0.package"] == pytest.approx(50.0)
    assert before["cpu0.dram"] == after["cpu0.dram"] == pytest.approx(1e-5)
    assert bad == {"cpu0.package": Status.OK, "cpu0.dram": Status.GARBLED}


def test_counters_follow_a_script(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, parts=(), start_uj=7_000_000)
    path = tree.files("package-0")[0]
    start = time.monotonic_ns()
    script = PowerScript(start, [(0.2, 100.0), (0.2, 300.0)], then=50.0, idle_w=0.0)
    with tree.playing({"package-0": script}):
        time.sleep(0.5)
        read_ns = time.monotonic_ns()
    end = time.monotonic_ns()
    energy_j = int(path.read_text()) / 1e6 - 7.0
    # The writer begins a moment after the script, and writes once more when it is told to end.
    assert script.energy_j(start, read_ns) - 2.0 < energy_j <= script.energy_j(start, end)


def test_reads_fail(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path, parts=())
    tree.break_reads("package-0")
    with pytest.raises(OSError, match="Input/output"):
        tree.files("package-0")[0].read_bytes()
    closed = PowercapTree(tmp_path / "other", parts=())
    closed.forbid("package-0")
    assert closed.files("package-0")[0].stat().st_mode & 0o777 == 0
