"""RAPL on powercap trees in a temporary folder."""

import errno
import os
from pathlib import Path

import pytest

from wattproof.errors import WattproofError
from wattproof.sources.base import Status
from wattproof.sources.rapl import RaplSource

RANGE_UJ = 262_143_328_850


def domain(root: Path, folder: str, name: str, energy_uj: int = 0) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two packages: sub-domains nested in one and flat for the other, mirrors, and a psys."""
    domain(tmp_path, "intel-rapl:0", "package-0", 200_000_000)
    domain(tmp_path, "intel-rapl:0/intel-rapl:0:0", "core", 1)
    domain(tmp_path, "intel-rapl:0/intel-rapl:0:1", "dram", 60_000_000)
    domain(tmp_path, "intel-rapl:1", "psys", 5)
    domain(tmp_path, "intel-rapl:2", "package-1", 300_000_000)
    domain(tmp_path, "intel-rapl:2:0", "uncore", 2)
    domain(tmp_path, "intel-rapl:2:1", "dram", 70_000_000)
    # The kernel shows sub-domains twice.
    (tmp_path / "intel-rapl:0:1").symlink_to("intel-rapl:0/intel-rapl:0:1")
    domain(tmp_path, "intel-rapl-mmio:0", "package-0", 200_000_000)
    domain(tmp_path, "intel-rapl-mmio:0:0", "dram", 60_000_000)
    (tmp_path / "intel-rapl").mkdir()
    return tmp_path


def test_each_domain_once_without_parts_and_mirrors(tree: Path) -> None:
    """Cases R8 and R9: package and DRAM, nothing twice."""
    source = RaplSource(tree, simulated=True)
    description = source.open()
    values = {r.channel: r.value for r in source.read()}
    source.close()
    assert values == {
        "cpu0.package": 200.0,
        "cpu0.dram": 60.0,
        "cpu1.package": 300.0,
        "cpu1.dram": 70.0,
    }
    assert [c.name for c in description.channels] == list(values)
    package = description.channels[0]
    assert (package.kind, package.unit, package.device) == ("energy", "J", "package-0")
    assert package.wrap == pytest.approx(262_143.328850, rel=1e-15)
    assert description.channels[1].device == "package-0/dram"
    assert description.simulated


def test_mmio_stands_in_where_it_is_all_there_is(tmp_path: Path) -> None:
    domain(tmp_path, "intel-rapl-mmio:0", "package-0", 5_000_000)
    domain(tmp_path, "intel-rapl-mmio:0/intel-rapl-mmio:0:0", "dram", 1_000_000)
    source = RaplSource(tmp_path)
    source.open()
    values = {r.channel: r.value for r in source.read()}
    source.close()
    assert values == {"cpu0.package": 5.0, "cpu0.dram": 1.0}


@pytest.mark.parametrize("names", [("package-0-die-0", "package-0-die-1"), ("package-0",) * 2])
def test_dies_that_mirror_their_package_count_once(tmp_path: Path, names: tuple[str, str]) -> None:
    """Case R9 on multi-die CPUs: names are not unique, the counter is one."""
    for number, name in enumerate(names):
        domain(tmp_path, f"intel-rapl:{number}", name, 7_000_000_000 + number * 4000)
    domain(tmp_path, "intel-rapl:2", "package-1", 7_000_000_000)  # another socket stays
    source = RaplSource(tmp_path)
    channels = source.open().channels
    source.close()
    assert [(c.name, c.device) for c in channels] == [
        ("cpu0.package", names[0]),
        ("cpu1.package", "package-1"),
    ]


@pytest.mark.parametrize("names", [("package-0-die-0", "package-0-die-1"), ("package-0",) * 2])
def test_dies_with_counters_of_their_own_all_count(tmp_path: Path, names: tuple[str, str]) -> None:
    for number, name in enumerate(names):
        domain(tmp_path, f"intel-rapl:{number}", name, 7_000_000_000 + number * 9_000_000)
    source = RaplSource(tmp_path)
    channels = source.open().channels
    values = [r.value for r in source.read()]
    source.close()
    assert values == [7000.0, 7009.0]
    assert len({c.device for c in channels}) == 2


def test_counter_is_read_as_it_stands_over_a_wrap(tree: Path) -> None:
    """Case R3 is undone later, from the raw values: new = 50 J after old = range - 50 J."""
    counter = tree / "intel-rapl:0" / "energy_uj"
    source = RaplSource(tree)
    source.open()
    for energy_uj in (RANGE_UJ - 50_000_000, 50_000_000):
        counter.write_text(f"{energy_uj}\n")
        package = next(r for r in source.read() if r.channel == "cpu0.package")
        assert package.value == pytest.approx(energy_uj / 1e6)
    source.close()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (errno.EACCES, Status.NO_PERMISSION),
        (errno.ENODEV, Status.DEVICE_LOST),
        (errno.ENODATA, Status.MISSING),
        (errno.EIO, Status.ERROR),
    ],
)
def test_a_failed_read_is_a_status(
    tree: Path, monkeypatch: pytest.MonkeyPatch, code: int, status: Status
) -> None:
    """Cases F1 to F3: one failed read of one file made 263 kJ elsewhere."""
    source = RaplSource(tree)
    source.open()
    calls = iter(range(100))
    real = os.pread

    def fails_once(handle: int, length: int, offset: int) -> bytes:
        if next(calls) == 1:
            raise OSError(code, os.strerror(code))
        return real(handle, length, offset)

    monkeypatch.setattr(os, "pread", fails_once)
    first, second = source.read(), source.read()
    source.close()
    assert [(r.value is None, r.status) for r in first][1] == (True, status)
    assert sum(r.value is None for r in [*first, *second]) == 1


def test_a_failed_read_delivered_as_zero_is_a_status(tree: Path) -> None:
    """Case R4: 0 after 200 J was taken for a wrap: 262 kW for a second."""
    counter = tree / "intel-rapl:0" / "energy_uj"
    source = RaplSource(tree)
    source.open()
    found = []
    for energy_uj in (200_000_000, 0, 230_000_000):
        counter.write_text(f"{energy_uj}\n")
        found.append(next(r for r in source.read() if r.channel == "cpu0.package"))
    source.close()
    assert [r.value for r in found] == [200.0, None, 230.0]
    assert found[1].status is Status.MISSING


@pytest.mark.parametrize("text", ["", "12 34", "x"])
def test_garbage_is_garbled(tree: Path, text: str) -> None:
    source = RaplSource(tree)
    source.open()
    (tree / "intel-rapl:0" / "energy_uj").write_text(text)
    package = source.read()[0]
    source.close()
    assert (package.value, package.status) == (None, Status.GARBLED)


def test_no_permission_names_the_remedy(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Case R10. The tests may run as root, to whom no file is closed: the refusal is injected."""
    real = os.open

    def refuse(path: os.PathLike[str], flags: int, *rest: int) -> int:
        if str(path).endswith("energy_uj"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    source = RaplSource(tree)
    with pytest.raises(WattproofError, match=r"chmod -R a\+r"):
        source.open()
    source.close()


def test_no_tree_says_so(tmp_path: Path) -> None:
    for root in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(WattproofError, match="no RAPL package"):
            RaplSource(root).open()


def test_close_lets_go_of_every_file(tree: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    source = RaplSource(tree)
    source.open()
    assert len(os.listdir("/proc/self/fd")) == before + 4
    source.close()
    source.close()
    assert len(os.listdir("/proc/self/fd")) == before
