"""The doctor: on a bare machine, a stub driver, a powercap tree, a meter, and with what hangs."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from powercap_tree import PowercapTree
from stub_nvml import PowerScript, StubDriver, StubGpu

from wattproof.doctor import (
    Examination,
    Finding,
    Grade,
    look_cpu,
    look_disk,
    look_nvml,
    look_rapl,
    look_site,
    machine,
    text,
)
from wattproof.doctor.findings import missing, ok, works
from wattproof.doctor.isolate import look, look_at_all

WATTPROOF = str(Path(sys.executable).parent / "wattproof")
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "doctor.md"


def doctor(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [WATTPROOF, "doctor", *arguments],
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=120,
    )


def bare(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    empty = folder / "no-powercap"
    empty.mkdir(exist_ok=True)
    return {**os.environ, "WATTPROOF_POWERCAP": str(empty), "COLUMNS": "100", **(more or {})}


def ask(probe: str, env: Mapping[str, str], **request: Any) -> list[Finding]:
    """Run a probe in a process with an environment of its own."""
    found = subprocess.run(
        [sys.executable, "-m", "wattproof.doctor", probe],
        input=json.dumps(request),
        env=dict(env),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    items = json.loads(found.stdout)
    return [Finding(**{**item, "grade": Grade(item["grade"])}) for item in items]


# ------------------------------------------------------------------------------ the whole


def test_bare_machine_json_has_its_documented_keys_and_says_1(tmp_path: Path) -> None:
    if machine.gpu_vendors().get("NVIDIA"):
        pytest.skip("this machine has a GPU")
    found = doctor("--json", "--seconds", "0", "--out", str(tmp_path), env=bare(tmp_path))
    assert found.returncode == 1
    assert found.stderr == ""
    told = json.loads(found.stdout)
    documented = DOCUMENT.read_text(encoding="utf-8")
    for key in [*told, *told["findings"][0]]:
        assert f"`{key}`" in documented, f"docs/doctor.md lacks key {key}"
    assert told["ok"] is False
    assert told["energy_sources"] == []
    assert told["lacking"] == ["energy"]
    subjects = {finding["subject"] for finding in told["findings"]}
    assert subjects >= {"nvml", "smi", "rapl", "meter", "codecarbon", "host"}
    assert subjects >= {"cpu", "clock", "disk", "site"}
    for finding in told["findings"]:
        assert finding["grade"] in ("ok", "limited", "missing")
        assert finding["sentence"].strip().endswith((".", ")"))
        if finding["subject"] in ("rapl", "meter"):
            assert finding["grade"] == "missing"
            assert finding["remedy"]


def test_one_source_of_energy_is_enough_and_the_trial_measures_its_rate(tmp_path: Path) -> None:
    tree = PowercapTree(tmp_path / "powercap", packages=2, parts=("core", "dram"), mmio=True)
    env = bare(tmp_path) | {"WATTPROOF_POWERCAP": str(tree.root)}
    scripts = {"package-0": PowerScript(time.monotonic_ns(), [], then=50.0)}
    with tree.playing(scripts, period_s=0.01):
        found = doctor("--seconds", "1", "--out", str(tmp_path), env=env)
    assert found.returncode == 0, found.stdout
    lines = found.stdout.splitlines()
    assert lines[-1].startswith("Energy can be measured here with")
    assert "rapl" in lines[-1]
    assert any("package-0" in line and "ok" in line for line in lines)
    assert any(line.split()[:3] == ["trial", "ok", "host:"] for line in lines), found.stdout
    assert any("rapl: " in line and "readings in" in line for line in lines)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("sources: {host: {}}", 0, "Everything that the campaign needs works: host."),
        ("sources: {host: {}, rapl: {}}", 1, "rapl missing"),
        ("sources: {host: {perod_s: 1}}", 2, "perod_s"),
        ("sources: {meter: {driver: lgm450}}", 2, "Did you mean 'lmg"),
        ("sources: {meter: {driver: lmg450, port: /dev/none}}", 1, "There is no serial port"),
        ("space: regnet_demo", 2, "key 'sources' is missing"),
    ],
)
def test_exit_status_of_a_campaign_file(
    tmp_path: Path, content: str, code: int, words: str
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content, encoding="utf-8")
    arguments = ("--config", str(path), "--seconds", "0", "--out", str(tmp_path))
    found = doctor(*arguments, env=bare(tmp_path))
    assert found.returncode == code, found.stdout + found.stderr
    assert words in " ".join((found.stdout + found.stderr).split())
    assert "Traceback" not in found.stderr


# ------------------------------------------------------------------------------ nvml


def test_nvml_on_the_stub_driver(tmp_path: Path) -> None:
    driver = StubDriver.build(
        tmp_path, [StubGpu(persistence=False), StubGpu(uuid="GPU-1", mig=["MIG-1"])]
    )
    # A new level in every update of the sensor.
    steps = [(0.1, 100.0 + index % 7) for index in range(200)]
    driver.play(0, PowerScript(time.monotonic_ns(), steps, then=75.0))
    found = {f.item: f for f in ask("nvml", driver.env, seconds=3.0)}
    assert found["driver"].grade is Grade.OK
    assert "2 GPUs" in found["driver"].sentence
    assert found["driver"].facts["driver"] == "580.159.03"
    assert found["gpu0"].grade is Grade.LIMITED
    assert found["gpu0"].remedy == "sudo nvidia-smi -pm 1"
    assert driver.gpus[0].uuid in found["gpu0"].sentence
    assert found["gpu1"].grade is Grade.LIMITED
    assert "MIG is on" in found["gpu1"].sentence
    assert found["gpu0.power_instant"].facts["update_s"] == pytest.approx(0.1, rel=0.2)
    assert found["gpu0.power_instant"].facts["read_cost_s"] < 0.002
    assert found["counter"].facts["read_cost_s"] > 0.002
    assert found["ring"].facts["period_s"] == pytest.approx(0.02, rel=0.05)
    assert found["ring"].facts["samples"] == 119


def test_nvml_calls_that_fail_are_said(tmp_path: Path) -> None:
    driver = StubDriver.build(tmp_path, [StubGpu(ring_size=0)])
    driver.fail(0, "nvmlDeviceGetTotalEnergyConsumption", 3)
    driver.fail(0, "field:185", 3)
    found = {f.item: f for f in ask("nvml", driver.env, seconds=0.4)}
    assert found["driver"].grade is Grade.OK
    assert found["counter"].grade is Grade.LIMITED
    assert found["ring"].grade is Grade.LIMITED
    assert found["gpu0"].facts["unsupported"] == ["power_average"]
    assert "gpu0.power_average" not in found


def test_a_driver_that_hangs_is_left_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = StubDriver.build(tmp_path)
    driver.slow(None, "*")
    for name, value in driver.env.items():
        monkeypatch.setenv(name, value)
    begun = time.monotonic()
    (found,) = look("nvml", {"seconds": 0.0}, 2.0)
    assert time.monotonic() - begun < 10.0
    assert found.grade is Grade.MISSING
    assert "did not end within 2 s" in found.sentence
    assert found.remedy
    assert not works("nvml", [found])
    driver.clear_faults()


def fake_nvml(code: int) -> Any:
    class NVMLError(Exception):
        value = code

    def init() -> None:
        raise NVMLError(f"code {code}")

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=init,
        nvmlShutdown=lambda: None,
        NVML_ERROR_LIBRARY_NOT_FOUND=12,
    )


@pytest.mark.parametrize(
    ("code", "vendors", "container", "words", "remedy"),
    [
        (12, {}, "", "none on the PCI bus", ""),
        (12, {"NVIDIA": 2}, "", "2 on the PCI bus, but no driver", "Install NVIDIA's driver"),
        (12, {"NVIDIA": 2}, "docker", "no driver", "--gpus all"),
        (12, {"AMD": 1}, "", "AMD display device", "wall meter"),
        (18, {"NVIDIA": 1}, "", "different versions", "Restart the machine"),
        (9, {"NVIDIA": 1}, "", "does not work", "dmesg"),
    ],
)
def test_why_nvml_is_absent(
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    vendors: dict[str, int],
    container: str,
    words: str,
    remedy: str,
) -> None:
    monkeypatch.setattr(machine, "gpu_vendors", lambda: vendors)
    monkeypatch.setattr(machine, "container", lambda: container)
    endpoints = SimpleNamespace(nvml=fake_nvml(code), simulated=False)
    monkeypatch.setattr(look_nvml, "real_endpoints", lambda: endpoints)
    (found,) = look_nvml.look({})
    assert found.grade is Grade.MISSING
    assert words in found.sentence
    assert remedy in found.remedy


def test_smi_cost_of_a_process_per_sample(tmp_path: Path) -> None:
    quick = StubDriver.build(tmp_path / "quick", smi_cost_s=0.01)
    slow = StubDriver.build(tmp_path / "slow", smi_cost_s=0.3)
    (found,) = ask("smi", quick.env, seconds=1.0)
    assert found.grade is Grade.OK
    (found,) = ask("smi", slow.env, seconds=1.0)
    assert found.grade is Grade.LIMITED
    assert found.facts["spawn_cost_s"] > 0.3
    assert "loop" in found.remedy


# ------------------------------------------------------------------------------ rapl


def as_nobody(work: Callable[[], Any]) -> Any:
    """Run something without root's rights, in a process of its own."""
    receive, send = multiprocessing.Pipe(duplex=False)
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            send.send(work())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert receive.poll(), "the process gave no answer"
    return receive.recv()


def test_rapl_for_root_only_is_said_with_its_exact_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Case R10."""
    folder = Path(tempfile.mkdtemp())  # pytest's folders are closed to others
    try:
        folder.chmod(0o755)
        tree = PowercapTree(folder / "powercap", parts=("dram",))
        tree.forbid("package-0")
        monkeypatch.setenv("WATTPROOF_POWERCAP", str(tree.root))
        (found,) = as_nobody(lambda: look_rapl.look({"seconds": 0.0}))
    finally:
        shutil.rmtree(folder)
    assert found.grade is Grade.MISSING
    assert found.item == "permission"
    assert "may be read by root only" in found.sentence
    assert f"sudo chmod -R a+r {tree.root}/intel-rapl*/" in found.remedy
    assert "/etc/udev/rules.d/" in found.remedy
    assert found.facts["closed"] == ["package-0"]


def test_rapl_that_cannot_be_read_is_no_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = PowercapTree(tmp_path / "powercap")
    tree.break_reads("package-0/dram")
    monkeypatch.setenv("WATTPROOF_POWERCAP", str(tree.root))
    (found,) = look_rapl.look({"seconds": 0.0})
    assert found.grade is Grade.MISSING
    assert found.facts["closed"] == ["package-0/dram"]


def test_rapl_without_memory_is_limited_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = PowercapTree(tmp_path / "powercap", packages=2, parts=("core",))
    monkeypatch.setenv("WATTPROOF_POWERCAP", str(tree.root))
    domains, dram = look_rapl.look({"seconds": 0.0})
    assert domains.grade is Grade.OK
    assert domains.facts["channels"] == ["cpu0.package", "cpu1.package"]
    assert domains.facts["wrap_j"] == pytest.approx(262_143.32885)
    assert dram.grade is Grade.LIMITED


def test_rapl_counters_that_stand_still_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = PowercapTree(tmp_path / "powercap")
    monkeypatch.setenv("WATTPROOF_POWERCAP", str(tree.root))
    found = {f.item: f for f in look_rapl.look({"seconds": 0.2})}
    assert found["update"].grade is Grade.LIMITED
    scripts = {"package-0": PowerScript(time.monotonic_ns(), [], then=100.0)}
    with tree.playing(scripts, period_s=0.01):
        found = {f.item: f for f in look_rapl.look({"seconds": 0.3})}
    assert found["update"].grade is Grade.OK
    assert found["update"].facts["update_s"] == pytest.approx(0.01, rel=0.5)


@pytest.mark.parametrize(
    ("virtual", "container", "arch", "words"),
    [
        ("KVM", "", "x86_64", "this virtual machine (KVM) has none"),
        ("", "docker", "x86_64", "hidden in this container"),
        ("", "", "aarch64", "a feature of x86"),
        ("", "", "x86_64", "no package under"),
    ],
)
def test_why_rapl_is_absent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    virtual: str,
    container: str,
    arch: str,
    words: str,
) -> None:
    monkeypatch.setenv("WATTPROOF_POWERCAP", str(tmp_path))
    monkeypatch.setattr(machine, "virtual_machine", lambda: virtual)
    monkeypatch.setattr(machine, "container", lambda: container)
    monkeypatch.setattr("platform.machine", lambda: arch)
    (found,) = look_rapl.look({})
    assert found.grade is Grade.MISSING
    assert words in found.sentence
    assert found.remedy


# ------------------------------------------------------------------------------ the rest


def test_a_disk_that_cannot_be_written_is_missing(tmp_path: Path) -> None:
    (fine,) = look_disk.look({"folder": str(tmp_path / "not" / "yet")})
    assert fine.grade is not Grade.MISSING
    assert fine.facts["folder"] == str(tmp_path)
    assert fine.facts["free_bytes"] > 0
    (bad,) = look_disk.look({"folder": "/proc"})
    assert bad.grade is Grade.MISSING
    assert list(tmp_path.iterdir()) == []


def test_a_single_cpu_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpus_allowed", lambda: 1.0)
    cores = look_cpu.look({})[0]
    assert cores.grade is Grade.LIMITED
    assert "--cpus-per-task" in cores.remedy


def test_a_shared_slurm_node_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    for name, value in (
        ("SLURM_JOB_ID", "42"),
        ("SLURM_JOB_GPUS", "0,1"),
        ("SLURM_CPUS_ON_NODE", "8"),
    ):
        monkeypatch.setenv(name, value)
    slurm = look_site.look({})[1]
    assert slurm.grade is Grade.LIMITED
    assert "--exclusive" in slurm.remedy
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "64")
    assert look_site.look({})[1].grade is Grade.OK


def test_a_probe_that_breaks_is_a_finding_and_the_others_go_on() -> None:
    found = look_at_all(["no such probe", "cpu"], {}, 20.0)
    (broken,) = found["no such probe"]
    assert broken.grade is Grade.MISSING
    assert "KeyError" in broken.sentence
    assert found["cpu"][0].subject == "cpu"


def test_the_verdict_needs_what_the_campaign_names() -> None:
    gpu, wall = ok("nvml", "driver", "Yes."), missing("meter", "configured", "No.")
    late = missing("nvml", "gpu3", "One of them is broken.")
    assert not Examination((gpu, wall), (), 1.0).lacking
    assert not Examination((gpu, late), ("nvml",), 1.0).lacking
    assert Examination((gpu, wall), ("nvml", "meter"), 1.0).lacking == ["meter"]
    assert Examination((wall,), (), 1.0).lacking == ["energy"]


def test_remedies_are_never_cut_in_the_middle_of_a_word() -> None:
    remedy = "sudo chmod -R a+r /sys/class/powercap/intel-rapl*/ " + "x" * 90
    lines = text.finding_lines(missing("rapl", "permission", "No.", remedy), "CPU (rapl)", 80)
    assert " ".join(" ".join(lines).split()).endswith(remedy)
