"""The page: one file, valid, honest about what is simulated, refused or missing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import synthetic_campaign as made

from wattproof import tables
from wattproof.errors import WattproofError
from wattproof.report import ReportInputs, build, draw_all
from wattproof.report.figures import FIGURES
from wattproof.report.inputs import FRAMES

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks nesting; collects cells, images, ids, links, headings and visible text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.cells: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[int] = []
        self.rows: list[int] = []
        self.captions: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.append(str(values["id"]))
        for name in ("src", "href", "action", "data", "srcset"):
            if name in values:
                self.links.append(str(values[name]))
        if tag == "img":
            self.images.append(values)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "caption" or tag == "figcaption":
            self.captions.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data
        if {"caption", "figcaption"} & set(self.open):
            self.captions[-1] += data


def make(inputs: ReportInputs, folder: Path) -> tuple[str, Page]:
    build(inputs, draw_all(inputs, folder / "figures"), folder / "r.html", folder / "s.json")
    text = (folder / "r.html").read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the fixture `pages` writes the full campaign."""
    return tmp_path_factory.mktemp("full")


@pytest.fixture(scope="module")
def pages(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Page]]:
    return {
        "full": make(made.full(), folder),
        "empty": make(made.empty(), tmp_path_factory.mktemp("empty")),
    }


@pytest.mark.parametrize("name", ["full", "empty"])
def test_page_is_valid_self_contained_and_never_blank(
    pages: dict[str, tuple[str, Page]], name: str
) -> None:
    text, page = pages[name]
    assert text.startswith("<!DOCTYPE html>")
    for link in page.links:
        # traces.html lies beside the report: plots to zoom into need a script, the page has none.
        assert link.startswith(("#", "data:image/png;base64,")) or link == "traces.html", link
    assert "<script" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert len(page.ids) == len(set(page.ids))
    for link in page.links:
        assert not link.startswith("#") or link[1:] in page.ids
    for cell in page.cells:
        assert cell.strip().lower() not in ("", "nan", "none", "<na>", "nat", "null")
    assert not re.search(r"\b(nan|NaN|None|<NA>)\b", page.text)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False))


def test_every_figure_is_there_with_alt_text(pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages["full"]
    assert len(page.images) == len(FIGURES)
    for image in page.images:
        assert len(str(image["alt"])) > 30
        assert image["width"]
    assert {name for name, _, _ in FIGURES} <= set(page.ids)


def test_empty_campaign_says_why_in_words(pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages["empty"]
    assert page.images == []
    for words in (
        "No source was compared with a reference in power.",
        "No estimator of node energy was calibrated.",
        "There is no table of clocks.",
        "No surrogate was fitted.",
        "there is no benchmark to load",
        "There are no energies to flag.",
        "cannot tell",
    ):
        assert words in page.text


@pytest.mark.parametrize("simulated", [True, False])
def test_simulated_is_said_iff_it_is_so(simulated: bool, tmp_path: Path) -> None:
    inputs = made.but(made.full(simulated), example={}, provenance={})
    inputs = made.but(inputs, usage=[made.usage_row(device="GPU-1")], energy=[])
    _, page = make(inputs, tmp_path)
    assert ("simulated" in page.ids) is simulated
    assert ("SIMULATED" in page.text) is simulated
    for caption in page.captions:
        assert caption.startswith("SIMULATED ") is simulated
    svg = (tmp_path / "figures" / "fig8.svg").read_text(encoding="utf-8")
    assert ("SIMULATED" in svg) is simulated  # svg comments name each text that is drawn
    assert json.loads((tmp_path / "s.json").read_text("utf-8"))["simulated"] is simulated


def test_refused_statistics_stand_in_words(pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages["full"]
    assert "refused [1]" in page.cells
    assert "n = 8 is too small for a correlation" in page.text
    assert "no idle window was accepted" in page.text
    assert "no replicates, so the noise is not known" in page.text


def test_ks_verdicts_carry_n_d_and_p(pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages["full"]
    assert "✗ n 48, D 0.40, p < 0.001" in page.cells
    marked = [cell for cell in page.cells if cell[:1] in "✓✗" and len(cell) > 3]
    assert marked
    for cell in marked:
        assert re.search(r"n \d+, D [\d.]+, p (< )?[\d.]+", cell), cell


def test_papers_values_stand_in_a_labelled_column_only(
    pages: dict[str, tuple[str, Page]],
) -> None:
    text, _ = pages["full"]
    inside, outside = [], []
    for table in re.findall(r"<table.*?</table>", text, re.DOTALL):
        (inside if "paper (arXiv" in table else outside).append(table)
    assert len(inside) == 3
    assert "10.3\u202f%" in inside[1]
    assert all("10.3\u202f%" not in table for table in outside)


def test_flags_are_counted_with_their_sentence(pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages["full"]
    few = sum("few_samples" in flags for flags in made.full().energy["flags"])
    assert few > 0
    assert f"SMI {few}" in page.cells
    assert "fewer good readings" in page.text


def test_health_counts_are_whole(pages: dict[str, tuple[str, Page]]) -> None:
    _, page = pages["full"]
    row = page.cells.index("SMI", page.cells.index("longest gap"))
    assert page.cells[row + 2 : row + 8] == ["1\u202f000", "410", "0", "590", "3", "41.00\u202f%"]


def test_text_from_the_data_is_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>'
    inputs = made.but(
        made.empty(),
        config={"campaign": evil},
        provenance={"host": evil},
        usage=[made.usage_row(device=evil, refused=evil, q05_w=None)],
        calibration=[made.calibration_row("a", evil, 0.01)],
    )
    text, page = make(inputs, tmp_path)
    assert "<script" not in text
    assert evil in page.text


def test_page_refuses_to_be_built_without_its_figures(tmp_path: Path) -> None:
    figures = draw_all(made.empty(), tmp_path)
    with pytest.raises(WattproofError, match="fig2"):
        build(made.empty(), figures[:1], tmp_path / "r", tmp_path / "s")
    figures[0].png.unlink()
    with pytest.raises(WattproofError, match="does not exist"):
        build(made.empty(), figures, tmp_path / "r", tmp_path / "s")


def test_wrong_frame_is_refused_by_name() -> None:
    with pytest.raises(WattproofError, match=r"'usage' lacks the column\(s\).*span"):
        made.but(made.empty(), usage=made.full().usage.drop(columns="span"))


def test_same_tables_same_bytes_also_as_read_from_files(
    pages: dict[str, tuple[str, Page]], folder: Path, tmp_path: Path
) -> None:
    """`tables.read_frame` gives pandas' nullable integers; the page must not mind."""
    full = made.full()
    meta = tables.Meta("made-up", True)
    frames: dict[str, Any] = {}
    for name in FRAMES:
        path = tmp_path / f"{name}.parquet"
        tables.write(getattr(full, name), name, path, meta)
        frames[name] = tables.read_frame(path, name)
    make(made.but(full, **frames), tmp_path / "again")
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(written) == 2 + 2 * len(FIGURES)
    for path in written:
        again = tmp_path / "again" / path.relative_to(folder)
        assert path.read_bytes() == again.read_bytes(), path.name


def test_figures_are_png_and_svg(pages: dict[str, tuple[str, Page]], folder: Path) -> None:
    for name, _, _ in FIGURES:
        png, svg = (folder / "figures" / f"{name}.{end}" for end in ("png", "svg"))
        assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert svg.read_text(encoding="utf-8").rstrip().endswith("</svg>")
