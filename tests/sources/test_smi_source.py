"""nvidia-smi: all shapes of its XML, all its ways to fail, on a real (small) executable."""

import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wattproof.errors import WattproofError
from wattproof.sources import smi, smi_tool
from wattproof.sources.base import Interruptible, Pacing, Reading, Status
from wattproof.sources.smi_xml import parse_report, parse_value

HEAD = '<?xml version="1.0" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v12.dtd">\n'
VARIANTS = {
    "before 535": ("power_readings", "<power_draw>{w}</power_draw>", "power_draw"),
    "535": ("gpu_power_readings", "<power_draw>{w}</power_draw>", "power_draw"),
    "570": (
        "gpu_power_readings",
        "<average_power_draw>{w}</average_power_draw>"
        "<instant_power_draw>1.00 W</instant_power_draw>",
        "average_power_draw",
    ),
    "instant only": (
        "gpu_power_readings",
        "<instant_power_draw>{w}</instant_power_draw>",
        "instant_power_draw",
    ),
}


def xml(*watts: str, variant: str = "535", load: str = "97 %") -> str:
    section, draw, _ = VARIANTS[variant]
    gpus = "".join(
        f"<gpu id='0000{i}:00'><product_name>SIMULATED GPU</product_name><uuid>GPU-{i}</uuid>"
        f"<utilization><gpu_util>{load}</gpu_util></utilization>"
        f"<{section}>{draw.format(w=w)}"
        f"<current_power_limit>700.00 W</current_power_limit></{section}></gpu>"
        for i, w in enumerate(watts)
    )
    return f"{HEAD}<nvidia_smi_log><driver_version>570.1</driver_version>{gpus}</nvidia_smi_log>"


class Tool:
    """An executable in the place of nvidia-smi; `says` sets what it prints, `does` what it does."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "output"
        self.script = folder / "tool.py"
        self.command = [sys.executable, "-S", "-E", str(self.script), str(self.output)]
        self.does("sys.stdout.write(open(sys.argv[1]).read())")

    def does(self, code: str) -> None:
        self.script.write_text("import sys, time\n" + textwrap.dedent(code))

    def says(self, text: str) -> None:
        self.output.write_text(text)


@pytest.fixture(autouse=True)
def all_gpus_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    made = Tool(tmp_path)
    made.says(xml("123.45 W", "67.00 W"))
    return made


def spawn(tool: Tool) -> smi.SmiSpawnSource:
    return smi.SmiSpawnSource(tool.command, 0.1, True)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_shape_of_the_xml(tool: Tool, variant: str) -> None:
    """Case F17: changed tags made 0.0 W in EA-HAS-Bench's tracer."""
    tool.says(xml("123.45 W", "67.00 W", variant=variant))
    source = spawn(tool)
    description = source.open()
    values = {r.channel: (r.value, r.status) for r in source.read()}
    assert values == {
        "gpu0.power": (123.45, Status.OK),
        "gpu0.utilisation": (97.0, Status.OK),
        "gpu1.power": (67.0, Status.OK),
        "gpu1.utilisation": (97.0, Status.OK),
    }
    power = description.channels[0]
    assert power.identity["tag"].endswith("/" + VARIANTS[variant][2])
    assert power.identity["energy_rule"] == "mean"
    assert power.identity["limit_w"] == 700.0
    # "instant" averages over a window that is not known of this board; the others over 1 s.
    averaging_s = 0.0 if variant == "instant only" else 1.0
    assert (power.period_s, power.averaging_s, power.device) == (0.1, averaging_s, "GPU-0")
    assert description.simulated
    assert source.pacing is Pacing.PAUSE


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("N/A", Status.NOT_SUPPORTED),
        ("[N/A]", Status.NOT_SUPPORTED),
        ("[Not Supported]", Status.NOT_SUPPORTED),
        ("ERR!", Status.ERROR),
        ("[Unknown Error]", Status.ERROR),
        ("[GPU is lost]", Status.DEVICE_LOST),
        ("[Insufficient Permissions]", Status.NO_PERMISSION),
        ("0.00 W", Status.MISSING),  # no board draws nothing
        ("", Status.GARBLED),
        ("12.3.4 W", Status.GARBLED),
        ("-5.00 W", Status.GARBLED),
        ("123 kW", Status.GARBLED),
        ("nan", Status.GARBLED),
    ],
)
def test_no_number_is_a_status_and_never_zero(tool: Tool, text: str, status: Status) -> None:
    """Case F19: any error became 0 W in PowerJoular."""
    source = spawn(tool)
    source.open()
    tool.says(xml(text, "67.00 W"))
    values = {r.channel: (r.value, r.status) for r in source.read()}
    assert values["gpu0.power"] == (None, status)
    assert values["gpu1.power"] == (67.0, Status.OK)


@given(st.text())
def test_values_are_numbers_or_reasons(text: str) -> None:
    value, status = parse_value(text, "W")
    assert (value is None) == (status is not Status.OK)
    assert value is None or value >= 0.0


@given(st.integers(0, 10**7))
def test_printed_watts_come_back(hundredths: int) -> None:
    assert parse_value(f"{hundredths / 100:.2f} W", "W") == (hundredths / 100, Status.OK)


def test_tag_that_changes_later_is_missing(tool: Tool) -> None:
    source = spawn(tool)
    source.open()
    tool.says(xml("1.00 W", "2.00 W", variant="570"))
    powers = [r for r in source.read() if r.channel.endswith("power")]
    assert [(r.value, r.status) for r in powers] == [(None, Status.MISSING)] * 2


def test_gpu_that_vanishes_is_lost(tool: Tool) -> None:
    source = spawn(tool)
    source.open()
    tool.says(xml("123.45 W"))
    statuses = {r.channel: r.status for r in source.read()}
    assert statuses["gpu0.power"] is Status.OK
    assert statuses["gpu1.power"] is Status.DEVICE_LOST


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("sys.exit(9)", Status.ERROR),
        ("sys.exit(15)", Status.DEVICE_LOST),  # exit codes are NVML's
        (
            "print('Unable to determine the device handle for GPU0: GPU is lost.')",
            Status.DEVICE_LOST,
        ),
        ("print('Failed to initialize NVML: Driver/library version mismatch')", Status.GARBLED),
        ("sys.stdout.write(open(sys.argv[1]).read()[:300])", Status.GARBLED),
        ("time.sleep(60)", Status.TIMEOUT),
    ],
)
def test_failed_calls(
    tool: Tool, code: str, status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = spawn(tool)
    source.open()
    tool.does(code)
    monkeypatch.setattr(smi_tool, "CALL_LIMIT_S", 0.5)
    readings = source.read()
    assert len(readings) == 4
    assert {(r.value, r.status) for r in readings} == {(None, status)}


def test_open_fails_with_a_sentence(tool: Tool) -> None:
    missing = smi.SmiSpawnSource(["/nonexistent/nvidia-smi"], 0.1, False)
    with pytest.raises(WattproofError, match="cannot be started"):
        missing.open()
    tool.says(xml("1 W").replace("power_draw", "future_power_draw"))
    with pytest.raises(WattproofError, match=r"driver 570\.1.*under a tag"):
        spawn(tool).open()
    tool.does("sys.exit(9)")
    with pytest.raises(WattproofError, match="gave no report"):
        spawn(tool).open()


def test_interrupt_ends_a_stalled_call(tool: Tool) -> None:
    source = spawn(tool)
    source.open()
    assert isinstance(source, Interruptible)
    tool.does("time.sleep(60)")
    threading.Timer(0.3, source.interrupt).start()
    begin = time.monotonic()
    assert source.read() == []
    assert time.monotonic() - begin < 5.0


LOOP = """
if "-x" in sys.argv:
    sys.stdout.write(open(sys.argv[1]).read())
else:
    assert sys.argv[2:] == ["--query-gpu=uuid,power.draw,utilization.gpu",
        "--format=csv,noheader,nounits", "-lms", "20"], sys.argv
    for i in range(5):
        print(f"GPU-0, {100 + i}.25, 50\\nGPU-1, [N/A], 7", flush=True)
        time.sleep(0.02)
    print("garbage line", flush=True)
    {end}
"""


def test_loop_reads_lines_and_reports_its_end(tool: Tool) -> None:
    tool.does(LOOP.replace("{end}", "pass"))
    source = smi.SmiLoopSource(tool.command, 0.02, True)
    description = source.open()
    assert source.pacing is Pacing.STREAM
    assert "energy_rule" not in description.channels[0].identity
    readings: list[Reading] = []
    while not any(r.status is Status.DEVICE_LOST for r in readings):
        readings += source.read()
    with pytest.raises(WattproofError, match="ended by itself"):
        source.read()
    source.close()
    first = [r for r in readings if r.channel == "gpu0.power"]
    assert [r.value for r in first] == [100.25, 101.25, 102.25, 103.25, 104.25, None, None]
    assert [r.status for r in first[-2:]] == [Status.GARBLED, Status.DEVICE_LOST]
    second = [r.status for r in readings if r.channel == "gpu1.power"]
    assert second[:5] == [Status.NOT_SUPPORTED] * 5


def test_loop_that_falls_silent_times_out(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    tool.does(LOOP.replace("{end}", "time.sleep(60)"))
    monkeypatch.setattr(smi_tool, "CALL_LIMIT_S", 1.0)
    source = smi.SmiLoopSource(tool.command, 0.02, True)
    source.open()
    seen: list[Status] = []
    deadline = time.monotonic() + 10
    while Status.TIMEOUT not in seen and time.monotonic() < deadline:
        seen += [r.status for r in source.read()]
    begin = time.monotonic()
    source.close()
    source.close()
    assert Status.TIMEOUT in seen
    assert time.monotonic() - begin < 5.0


@pytest.mark.parametrize(
    ("architecture", "name", "draw", "averaging_s"),
    [
        ("Hopper", "NVIDIA H100 80GB HBM3", "power_draw", 1.0),
        ("Ampere", "NVIDIA A100-SXM4-80GB", "power_draw", 0.025),
        ("Volta", "Tesla V100", "power_draw", 0.010),
        ("Hopper", "NVIDIA H100 80GB HBM3", "instant_power_draw", 0.025),
        ("Ampere", "NVIDIA A100-SXM4-80GB", "average_power_draw", 1.0),
    ],
)
def test_averaging_by_tag_and_generation(
    tool: Tool, architecture: str, name: str, draw: str, averaging_s: float
) -> None:
    text = xml("100 W").replace("power_draw", draw).replace("SIMULATED GPU", name)
    tool.says(
        text.replace("<uuid>", f"<product_architecture>{architecture}</product_architecture><uuid>")
    )
    assert spawn(tool).open().channels[0].averaging_s == averaging_s


def test_a_tag_with_a_number_comes_first(tool: Tool) -> None:
    """Boards without an average print N/A there, and the number under another tag."""
    tool.says(xml("N/A", variant="570"))
    source = spawn(tool)
    assert source.open().channels[0].identity["tag"].endswith("instant_power_draw")
    assert source.read()[0].value == 1.0


def test_slots_are_those_of_nvml(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    source = spawn(tool)
    devices = {c.name: c.device for c in source.open().channels}
    assert (devices["gpu0.power"], devices["gpu1.power"]) == ("GPU-1", "GPU-0")
    values = {r.channel: r.value for r in source.read()}
    assert (values["gpu0.power"], values["gpu1.power"]) == (67.0, 123.45)


def test_not_a_report() -> None:
    assert parse_report(b"<other/>") is None
    assert parse_report(b"") is None
