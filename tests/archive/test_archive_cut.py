"""The slice of an archive: what is in it, on whose clock, and that levels find the true offset."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from archive_bench import write_part

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clocks"))

import clock_simulation as sim

from wattproof import archive, clocks
from wattproof.archive import Instant, Span
from wattproof.archive.hook import span_of
from wattproof.clocks.frames import as_frame
from wattproof.errors import WattproofError
from wattproof.recorder import StreamWriter, seal_session
from wattproof.recorder.streams import Row
from wattproof.sources.base import Channel, Description, Status

PAD = 400
WALL_NS = 1_790_000_000_000_000_000
"""Wall clock of the recording host when its monotonic clock was 0."""
HERE, THERE = "boot-of-the-node", "boot-of-the-measurement-host"


def settings(folder: Path, **more: float) -> dict[str, Any]:
    return {"folder": str(folder), "margin_s": 5.0, "wait_s": 0.0, "offset_s": 0.0, **more}


def quiet(_line: str) -> None:
    pass


def meter_channel(clock: str) -> Channel:
    return Channel("node.ac", "W", "power", "S1", period_s=0.1, averaging_s=0.1, clock=clock)


class TwoHosts:
    """A recording on one host, and an archive of its meter on another one.

    Args:
        ahead_s: The measurement host's wall clock is ahead by this much.
        clock: "device": the meter stamps its readings itself; "host": it does not.
        drift_ppm: Of both clocks of the measurement host.
        boot: Boot of the measurement host.
        set_by_s: Its wall clock is set by this much after two thirds of the recording.
    """

    def __init__(
        self,
        folder: Path,
        ahead_s: float,
        clock: str,
        drift_ppm: float = 0.0,
        boot: str = THERE,
        set_by_s: float = 0.0,
    ) -> None:
        rng = np.random.default_rng(4)
        load = np.concatenate(
            [np.full(2000, 5.0), sim.sync_pattern(rng), sim.training(rng, 40), np.full(1000, 5.0)]
        )
        made = sim.record(rng, load, drift_ppm=25.0, origin_s=777.0, sync_s=2.0, dropout=0.0)
        self.true_mono_ns = made.true_mono_ns
        self.marks = made.marks
        self.recording = made
        self.session, self.archive = folder / "session-000", folder / "archive"
        gpu = made.samples[made.samples["source"] == "nvml"]
        meter = made.samples[made.samples["source"] == "meter"]
        begin, end = int(gpu["start_ns"].min()), int(gpu["end_ns"].max())
        self.span = Span(Instant(begin, begin + WALL_NS), Instant(end, end + WALL_NS), HERE)

        (self.session / "streams").mkdir(parents=True)
        reference = Channel(
            "gpu0.power_instant", "W", "power", "GPU-1", 0, period_s=0.1, averaging_s=0.025
        )
        name, ok = reference.name, Status.OK
        writer = StreamWriter(
            self.session / "streams" / "nvml.arrows", Description({}, (reference,), True)
        )
        writer.append(
            (name, r.scheduled_ns, r.start_ns, r.end_ns, r.end_ns + WALL_NS, None, r.value, ok)
            for r in gpu.itertuples()
        )
        writer.close()

        # The other host: its own monotonic clock (since its own boot), its own wall clock.
        # An archive begins long before a session and ends long after it.
        before, after = np.arange(-PAD, 0) * 100_000_000, np.arange(1, PAD + 1) * 100_000_000

        def padded(known: np.ndarray) -> np.ndarray:
            return np.concatenate([known[0] + before, known, known[-1] + after])

        arrived = padded(meter["end_ns"].to_numpy())
        stamps = padded(meter["device_ns"].to_numpy(np.int64))
        idle = np.full(PAD, float(meter["value"].iloc[0]))
        watts = np.concatenate([idle, meter["value"], idle])
        since = arrived - arrived[0]
        mono = 9_000_000_000 + since + np.rint(since * drift_ppm * 1e-6).astype(np.int64)
        if boot == HERE:
            mono = arrived
        wall = mono - mono[0] + arrived[0] + WALL_NS + round(ahead_s * 1e9)
        wall[len(wall) * 2 // 3 :] += round(set_by_s * 1e9)
        self.there_ns = mono
        found: list[Row] = []
        for at, (m, w, device, value) in enumerate(zip(mono, wall, stamps, watts, strict=True)):
            stamp = int(device) if clock == "device" else None
            bad = at == PAD + 50
            status = Status.GARBLED if bad else Status.OK
            number = None if bad else float(value)
            found.append(("node.ac", None, int(m), int(m), int(w), stamp, number, status))
        half = len(found) // 2
        about = {"host": "meter-host", "boot_id": boot, "period_s": 0.1, "started_wall_ns": 1}
        write_part(self.archive, found[:half], [meter_channel(clock)], about)
        write_part(self.archive, found[half:], [meter_channel(clock)], about, ended=False)
        self.rows = found
        self.measured = found[PAD:-PAD]

    def kept(self, margin_s: float) -> list[Row]:
        """The rows that a slice with this margin has, by the wall clock there."""
        first = self.span.begin.wall_ns - round(margin_s * 1e9)
        last = self.span.end.wall_ns + round(margin_s * 1e9)
        return [row for row in self.rows if first <= row[4] <= last]

    def fetch(self, **more: float) -> dict[str, Any]:
        streams = self.session / "streams"
        archive.fetch(streams, settings(self.archive, **more), self.span, quiet)
        return seal_session(self.session, "r", 0)

    def align(self, sealed: dict[str, Any]) -> pd.Series:
        found = clocks.align(sealed["samples"], sealed["channels"], self.marks, {})
        row: pd.Series = found.set_index("source").loc["meter"]
        return row


def meter_rows(sealed: dict[str, Any]) -> pd.DataFrame:
    frame = as_frame(sealed["samples"])
    return frame[frame["source"] == "meter"].reset_index(drop=True)


@pytest.mark.parametrize("ahead_s", [0.0, 3.0, -2.0])
def test_offset_between_the_hosts_is_found_by_the_meters_own_clock(
    tmp_path: Path, ahead_s: float
) -> None:
    hosts = TwoHosts(tmp_path, ahead_s, "device")
    sealed = hosts.fetch()
    mine = meter_rows(sealed)
    kept = hosts.kept(margin_s=5.0)
    assert list(mine["device_ns"]) == [row[5] for row in kept]
    assert mine["status"].value_counts().to_dict() == {"ok": len(kept) - 1, "garbled": 1}
    (channel,) = (
        sealed["channels"]
        .filter(np.asarray(sealed["channels"]["source"].to_pylist()) == "meter")
        .to_pylist()
    )
    assert channel["clock"] == "device"
    assert channel["simulated"] is True
    assert json.loads(channel["identity"])["archived_by"] == "meter-host"
    row = hosts.align(sealed)
    assert row["accepted"], row["reason"]
    assert sim.error_s(hosts.recording, pd.DataFrame([{**row, "source": "meter"}])) < 0.05


@pytest.mark.parametrize("ahead_s", [0.0, 3.0])
def test_a_meter_without_stamps_is_stamped_by_the_measurement_host(
    tmp_path: Path, ahead_s: float
) -> None:
    """The stamp is its steady clock; the offset that levels find brings arrivals to the truth."""
    hosts = TwoHosts(tmp_path, ahead_s, "host", drift_ppm=40.0)
    sealed = hosts.fetch()
    mine = meter_rows(sealed)
    stamps = mine["device_ns"].to_numpy(np.int64)
    kept = hosts.kept(margin_s=5.0)
    assert (np.diff(stamps) == np.diff([row[3] for row in kept])).all()
    assert abs(int(stamps[0]) - kept[0][4]) < 1_000_000  # near the wall clock there
    row = hosts.align(sealed)
    assert row["accepted"], row["reason"]
    drift = np.rint((stamps - int(row["anchor_ns"])) * row["drift_ppm"] * 1e-6).astype(np.int64)
    found = stamps + int(row["offset_ns"]) + drift
    inside = np.array([row in hosts.measured for row in kept])
    # Readings arrive 45 ms after their cycle on average, which a level cannot tell from an offset.
    assert np.median(np.abs(found[inside] - hosts.true_mono_ns)) < 0.05e9


def test_wall_clock_that_was_set_there_does_no_harm(tmp_path: Path) -> None:
    hosts = TwoHosts(tmp_path, 0.5, "host", set_by_s=1.5)
    sealed = hosts.fetch()
    mine = meter_rows(sealed)
    steps = np.diff(mine["end_ns"].to_numpy(np.int64))
    assert steps.max() < 0.7e9  # late lines, but no jump by 1.5 s
    assert (np.diff(mine["device_ns"].to_numpy(np.int64)) == steps).all()
    row = hosts.align(sealed)
    assert row["accepted"], row["reason"]


def test_offset_beyond_the_search_is_refused_and_a_rough_value_mends_it(tmp_path: Path) -> None:
    hosts = TwoHosts(tmp_path, 20.0, "device")
    row = hosts.align(hosts.fetch(margin_s=30.0))
    assert not row["accepted"]
    assert row["reason"]
    for path in (hosts.session / "streams").glob("meter*"):
        path.unlink()
    row = hosts.align(hosts.fetch(offset_s=19.0))
    assert row["accepted"], row["reason"]
    assert sim.error_s(hosts.recording, pd.DataFrame([{**row, "source": "meter"}])) < 0.05


def test_on_one_machine_the_stamps_are_exact_and_stay(tmp_path: Path) -> None:
    hosts = TwoHosts(tmp_path, 0.0, "host", boot=HERE)
    sealed = hosts.fetch()
    mine = meter_rows(sealed)
    assert list(mine["end_ns"]) == [row[3] for row in hosts.kept(margin_s=5.0)]
    assert mine["device_ns"].isna().all()
    assert hosts.align(sealed)["method"] == "same_clock"


def test_only_the_session_and_its_margin_are_taken(tmp_path: Path) -> None:
    hosts = TwoHosts(tmp_path, 0.0, "device")
    whole = hosts.span
    first = Instant(whole.begin.mono_ns + 10_000_000_000, whole.begin.wall_ns + 10_000_000_000)
    last = Instant(first.mono_ns + 8_000_000_000, first.wall_ns + 8_000_000_000)
    hosts.span = Span(first, last, HERE)
    mine = meter_rows(hosts.fetch(margin_s=2.0))
    wanted = hosts.kept(margin_s=2.0)
    assert list(mine["value"].dropna()) == [r[6] for r in wanted if r[6] is not None]
    # Arrivals are where they were, to the nanosecond: both wall clocks agree here.
    assert list(mine["end_ns"]) == [r[4] - WALL_NS for r in wanted]


def test_a_drifting_wall_clock_is_followed_and_a_step_is_not() -> None:
    begin = Instant(1_000_000_000, WALL_NS)
    hour = 3_600_000_000_000
    slewed = Span(begin, Instant(1_000_000_000 + hour, WALL_NS + hour + 180_000_000))  # 50 ppm
    assert slewed.stepped_s() == 0.0
    half = np.array([WALL_NS + (hour + 180_000_000) // 2])
    assert int(slewed.to_mono(half)[0]) == pytest.approx(1_000_000_000 + hour // 2, abs=2)
    stepped = Span(begin, Instant(61_000_000_000, WALL_NS + 63_000_000_000))
    assert stepped.stepped_s() == pytest.approx(3.0)
    assert int(stepped.to_mono(np.array([WALL_NS + 5_000_000_000]))[0]) == 6_000_000_000


def test_restart_and_other_settings_in_the_middle_make_a_second_stream(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    made: list[list[Row]] = []
    for start, n in ((0, 100), (20_000_000_000, 100)):
        times = [start + 100_000_000 * i for i in range(n)]
        made.append(
            [
                ("node.ac", None, t, t, WALL_NS + t, t, float(i), Status.OK)
                for i, t in enumerate(times)
            ]
        )
    about = {"host": "h", "boot_id": THERE, "period_s": 0.1}
    write_part(folder, made[0], [meter_channel("device")], {**about, "started_wall_ns": 1}, False)
    write_part(folder, made[1], [meter_channel("device")], {**about, "started_wall_ns": 2})
    span = Span(Instant(0, WALL_NS), Instant(29_900_000_000, WALL_NS + 29_900_000_000), HERE)
    streams = tmp_path / "session-000" / "streams"
    archive.fetch(streams, settings(folder), span, quiet)
    assert sorted(p.name for p in streams.glob("*.arrows")) == ["meter.1.arrows", "meter.arrows"]
    sealed = seal_session(tmp_path / "session-000", "r", 0)
    (health,) = sealed["health"].to_pylist()
    assert health["restarts"] == 1
    assert health["missed"] == 100  # ten seconds between the two, at 0.1 s
    assert health["longest_gap_s"] == pytest.approx(10.1)
    assert len(sealed["samples"]) == 200


def test_what_is_not_covered_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    hosts = TwoHosts(tmp_path, 0.0, "device")
    later = hosts.span.end.wall_ns + 60_000_000_000
    hosts.span = Span(hosts.span.begin, Instant(hosts.span.end.mono_ns + 60_000_000_000, later))
    with pytest.raises(WattproofError, match=r"does not cover the session: it has 2026.* of 2026"):
        hosts.fetch()
    assert list((hosts.session / "streams").glob("*meter*")) == []
    archive.fetch(
        hosts.session / "streams", settings(hosts.archive), hosts.span, quiet, partly=True
    )
    (health,) = (
        h
        for h in seal_session(hosts.session, "r", 0)["health"].to_pylist()
        if h["source"] == "meter"
    )
    assert health["outcome"].startswith("failed: The archive")
    with pytest.raises(WattproofError, match="There is no folder"):
        archive.fetch(tmp_path / "s", settings(tmp_path / "x"), hosts.span, quiet)
    far = Span(Instant(0, WALL_NS * 2 // 3), Instant(1, WALL_NS * 2 // 3 + 1))
    with pytest.raises(WattproofError, match=r"has no reading of .*its newest is of 2026"):
        archive.fetch(tmp_path / "s", settings(hosts.archive), far, quiet)


def test_lost_index_and_torn_file_change_nothing(tmp_path: Path) -> None:
    hosts = TwoHosts(tmp_path, 0.0, "device")
    last = sorted((hosts.archive / "parts").iterdir())[-1]
    with last.open("ab") as file:
        file.write(b"\xff\xff\xff\xff\x10\x01\x00\x00half a message")
    assert not (hosts.archive / "index.jsonl").exists()
    assert len(meter_rows(hosts.fetch())) == len(hosts.kept(margin_s=5.0))
    assert f"samples  {len(hosts.rows) - 1} good, 1 failed (1 garbled)" in archive.show(
        hosts.archive
    )


def session_folder(folder: Path, campaign_sources: dict[str, Any], missing: str) -> Any:
    """Frame a session as `session.record` does; returns the context."""
    config = {"sources": campaign_sources, "on_missing_source": missing}
    raw = folder / "raw"

    def sessions() -> list[Path]:
        return sorted(raw.glob("session-*"))

    return archive.sliced(config, sessions, True, quiet, lambda: None), raw


def begin_session(raw: Path) -> Path:
    session = raw / f"session-{len(list(raw.glob('session-*'))):03d}"
    (session / "streams").mkdir(parents=True)
    about = {"mono_ns": time.monotonic_ns(), "wall_ns": time.time_ns(), "boot_id": HERE}
    (session / "session.json").write_text(json.dumps(about))
    return session


def test_killed_session_gets_its_slice_at_the_next_start(tmp_path: Path) -> None:
    hosts = TwoHosts(tmp_path, 0.0, "device")
    session = tmp_path / "raw" / "session-000"
    session.parent.mkdir()
    hosts.session.rename(session)
    about = {"mono_ns": hosts.span.begin.mono_ns, "wall_ns": hosts.span.begin.wall_ns}
    (session / "session.json").write_text(json.dumps({**about, "boot_id": HERE}))
    end = span_of(session, about).end  # nobody noted it: the last reading of another source
    assert end == hosts.span.end
    (session / "marks.jsonl").write_text('{"mono_ns": 5, "wall_ns": 6}\n{"mono_ns": 9')
    assert span_of(session, about).end == end
    sources = {"meter": {"driver": "archive", **settings(hosts.archive)}}
    config = {"sources": sources, "on_missing_source": "stop"}

    def run() -> None:
        with archive.sliced(config, lambda: [session], False, quiet, lambda: None):
            pass

    run()
    assert (session / "streams" / "meter.arrows").exists()
    hosts.archive.rename(tmp_path / "gone")
    run()  # sealed once, it needs the archive no more


def test_missing_archive_stops_before_or_is_noted(tmp_path: Path) -> None:
    sources = {"meter": {"driver": "archive", **settings(tmp_path / "none")}}
    frame, raw = session_folder(tmp_path, sources, "stop")
    with pytest.raises(WattproofError, match="There is no folder"), frame:
        raise AssertionError("must not begin")
    frame, raw = session_folder(tmp_path, sources, "continue")
    with frame:
        session = begin_session(raw)
    (health,) = seal_session(session, "r", 0)["health"].to_pylist()
    assert (health["source"], health["taken"]) == ("meter", 0)
    assert "There is no folder" in health["outcome"]


def test_stale_archive_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    hosts = TwoHosts(tmp_path, 0.0, "device")
    with pytest.raises(WattproofError, match=r"ends at 2026-\d\d-\d\d .*start `wattproof meter`"):
        archive.check(settings(hosts.archive))


def test_no_slice_when_the_recording_was_stopped(tmp_path: Path) -> None:
    sources = {"meter": {"driver": "archive", **settings(tmp_path / "none")}}
    frame, raw = session_folder(tmp_path, sources, "continue")

    def stopped() -> None:
        with frame:
            begin_session(raw)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    (session,) = raw.iterdir()
    assert (session / "ended.json").exists()
    assert list((session / "streams").iterdir()) == []


def test_where_the_archive_lies_decides_nothing_about_runs() -> None:
    one = {"host": {}, "meter": {"driver": "archive", "folder": "/a", "wait_s": 1}}
    two = {"host": {}, "meter": {"driver": "archive", "folder": "/b", "wait_s": 9}}
    assert archive.deciding(one) == archive.deciding(two)
    real = {"host": {}, "meter": {"driver": "lmg450", "port": "/dev/ttyUSB0"}}
    assert archive.deciding(real) == real
    assert archive.split(real) == (real, None)
