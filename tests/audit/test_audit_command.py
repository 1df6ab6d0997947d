"""``wattproof audit`` as an auditor runs it: the real workflow on small logs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import audit_set
import pytest
import yaml

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.ingest import drafting

MAIN = "from wattproof.cli import main; main()"


def wattproof(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "HOME": str(folder)}
    return subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("audit")
    manifest = audit_set.write(folder)
    done = wattproof(folder, "audit", str(manifest), "--cores", "2")
    assert done.returncode == 0, done.stderr
    return folder / "results" / "small", done.stdout


def test_the_clock_is_found_across_the_time_zone(audited: tuple[Path, str]) -> None:
    folder, _ = audited
    clocks = tables.read_frame(folder / "recordings" / "node-a" / "clocks.parquet", "clocks")
    row = clocks.set_index("source").loc["meter"]
    assert row["accepted"], row["reason"]
    assert row["offset_ns"] == pytest.approx(-(7200 + 0.37) * 1e9, abs=0.06e9)
    findings = tables.read_frame(folder / "tables" / "findings.parquet", "findings")
    assert "time_zone_shift" in set(findings["flag"])
    assert "inferred_time_zone" in set(findings["flag"])


def test_energies_agree_and_the_page_says_so(audited: tuple[Path, str]) -> None:
    folder, printed = audited
    energy = tables.read_frame(folder / "recordings" / "node-a" / "energy.parquet", "energy")
    wide = energy.pivot_table(index="window_id", columns="channel", values="energy_j")
    assert len(wide) == 5
    expected = 200 * 40 + 1.1 * wide["gpu0.power"]
    assert (wide["node.ac"] / expected - 1).abs().max() < 0.01
    page = (folder / "report.html").read_text(encoding="utf-8")
    for words in ("time_zone_shift", "written by a test", "node.ac", "What was inferred"):
        assert words in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "time_zone_shift" in printed
    assert str(folder / "report.html") in printed
    card = json.loads((folder / "scorecard.json").read_text())
    assert [v["principle"] for v in card["verdicts"]] == ["i", "ii", "iii"]
    for name in ("trace", "against", "errors", "rows"):
        assert (folder / "figures" / f"{name}.svg").stat().st_size > 1000
        assert (folder / "figures" / f"{name}.png").stat().st_size > 1000
    assert (folder / "figures" / "finding-time_zone_shift.svg").stat().st_size > 1000
    assert 'id="finding-time_zone_shift"' in page
    assert page.count("What to do:") == len(list((folder / "figures").glob("finding-*.svg")))
    assert 'table id="usage"' in page


def test_again_costs_nothing_and_fail_on_is_for_scripts(audited: tuple[Path, str]) -> None:
    folder, _ = audited
    before = (folder / "report.html").stat().st_mtime_ns
    root = folder.parent.parent
    done = wattproof(root, "audit", str(root / "manifest.yaml"), "--fail-on", "warning")
    assert done.returncode == 2, done.stderr
    assert (folder / "report.html").stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_only_the_set_that_changed_is_read_again(tmp_path: Path) -> None:
    manifest = audit_set.write(tmp_path, seconds=120)
    document = yaml.safe_load(manifest.read_text())
    first = document["sets"]["node-a"]
    second = json.loads(json.dumps(first))
    for log in second["logs"]:
        shutil.copy(tmp_path / log["path"], tmp_path / f"b-{log['path']}")
        log["path"] = f"b-{log['path']}"
    document["sets"]["node-b"] = second
    manifest.write_text(yaml.safe_dump(document, sort_keys=False))

    def read_again() -> set[str]:
        folder = tmp_path / "results" / "small" / "logs" / "ingest"
        before = {p.stem: p.stat().st_mtime_ns for p in folder.glob("*.log")}
        done = wattproof(tmp_path, "audit", str(manifest))
        assert done.returncode == 0, done.stderr
        return {p.stem for p in folder.glob("*.log") if p.stat().st_mtime_ns != before.get(p.stem)}

    assert read_again() == {"node-a", "node-b"}
    assert read_again() == set()
    log = tmp_path / "b-smi.csv"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:-5]))
    assert read_again() == {"node-b"}
    first["windows"] = first["windows"][:1]
    manifest.write_text(yaml.safe_dump(document, sort_keys=False))
    assert read_again() == {"node-a"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x00\x01" * 99, "binary"),
        (b"timestamp, power.draw [W]\n2024", "no row"),
    ],
)
def test_a_broken_log_is_one_sentence_that_names_it(
    tmp_path: Path, content: bytes, words: str
) -> None:
    manifest = audit_set.write(tmp_path, seconds=60)
    (tmp_path / "smi.csv").write_bytes(content)
    done = wattproof(tmp_path, "audit", str(manifest))
    assert done.returncode == 1
    assert "smi.csv" in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_mistakes_in_the_manifest_end_before_the_workflow(tmp_path: Path) -> None:
    manifest = audit_set.write(tmp_path, seconds=60)
    manifest.write_text(manifest.read_text().replace("nvidia_smi", "nvidia-smi"))
    done = wattproof(tmp_path, "audit", str(manifest))
    assert done.returncode == 1
    assert "Did you mean 'nvidia_smi'" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    done = wattproof(tmp_path, "audit", str(tmp_path / "none.yaml"))
    assert "does not exist" in done.stderr


def test_a_draft_names_what_it_recognised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit_set.write(tmp_path, seconds=60)
    monkeypatch.chdir(tmp_path)
    text = drafting.draft([Path("smi.csv"), Path("meter.csv")])
    assert "format: nvidia_smi" in text
    assert "format: delimited" in text
    assert "time: stamp" in text
    assert "fill in if you know it" in text
    (tmp_path / "empty.csv").write_text("")
    for bad, words in (("empty.csv", "is empty"), ("none.csv", "does not exist")):
        with pytest.raises(WattproofError, match=words):
            drafting.draft([Path(bad)])


BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")

PROBE = """
<script>
window.addEventListener("load", async () => {
  const plot = document.querySelector(".plotly-graph-div");
  const before = plot._fullLayout.xaxis.range.slice();
  await Plotly.relayout(plot, {"xaxis.range": [30, 40]});
  const after = plot._fullLayout.xaxis.range.slice();
  const shapes = document.querySelectorAll(".shapelayer path").length;
  const names = plot.data.map((d) => d.name);
  const button = document.querySelectorAll(".updatemenu-button")[1];
  await Plotly.relayout(plot, {shapes: []});
  const without = document.querySelectorAll(".shapelayer path").length;
  document.title = JSON.stringify({before, after, shapes, without, names, button: !!button});
});
window.addEventListener("error", (e) => { document.title = "ERROR " + e.message; });
</script></body>
"""


@pytest.mark.skipif(BROWSER is None, reason="chromium is not installed (apt install chromium)")
@pytest.mark.timeout(120)
def test_traces_zoom_in_a_browser_without_network(audited: tuple[Path, str]) -> None:
    folder, _ = audited
    text = (folder / "traces.html").read_text(encoding="utf-8")
    probe = folder / "probe.html"
    probe.write_text(text.replace("</body>", PROBE), encoding="utf-8")
    assert BROWSER is not None
    done = subprocess.run(
        [
            BROWSER,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=15000",
            "--dump-dom",
            f"file://{probe}",
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    title = done.stdout.partition("<title>")[2].partition("</title>")[0]
    assert not title.startswith("ERROR"), title
    seen = json.loads(title.replace("&amp;", "&"))
    assert seen["after"] == [30, 40]
    assert seen["before"] != seen["after"]
    assert seen["shapes"] == 5
    assert seen["without"] == 0
    assert seen["button"]
    assert set(seen["names"]) == {"gpu0.power (smi)", "node.ac (meter)"}
