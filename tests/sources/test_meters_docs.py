"""The pages of the meters: the example works as printed, the excerpts are valid, the words true."""

import ast
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from wattproof import config
from wattproof.errors import WattproofError
from wattproof.sources import meters
from wattproof.sources.base import Source, Status

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "meters.md").read_text(encoding="utf-8")
PAGES = sorted((DOCS / "meters").glob("*.md"))


class Answer(BaseHTTPRequestHandler):
    body = b'{"apower": 231.5}'

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_documented_meter_reads_fails_and_refuses() -> None:
    block = re.search(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert block
    scope: dict[str, Any] = {}
    exec(block.group(1), scope)
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asked = {"port": f"http://127.0.0.1:{server.server_port}/"}
    settings = config.validate(asked, scope["SETTINGS"] | {"type": "object"}, "c", "sources.meter")
    assert settings["period_s"] == 1.0
    meter = scope["build"](settings, None)
    assert isinstance(meter, Source)
    assert meter.open().channels[0].name == "node.ac"
    assert [(r.value, r.status) for r in meter.read()] == [(231.5, Status.OK)]
    server.shutdown()
    server.server_close()
    assert [(r.value, r.status) for r in meter.read()] == [(None, Status.TIMEOUT)]
    with pytest.raises(WattproofError, match=r"sources\.meter\.port"):
        meter.open()


# ---------------------------------------------------------------- a page for each meter


def excerpts(page: Path) -> list[dict[str, Any]]:
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    loaded = [yaml.safe_load(block) for block in blocks]
    # As part of a campaign, or only what stands under sources.meter.
    found = [part["sources"]["meter"] if "sources" in part else part for part in loaded]
    assert found, f"{page.name} has no config excerpt"
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_has_its_parts_and_valid_excerpts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    instrument = page.stem != "archive"  # that of an instrument on another machine
    for part in ("Wiring", "Settings", "Config", "Troubleshooting")[0 if instrument else 3 :]:
        assert any(heading.startswith(part) for heading in headings), part
    for settings in excerpts(page):
        schema = meters.settings_schema(settings["driver"])
        assert config.validate(settings, schema, page.name, "sources.meter")["driver"]
    assert f"(meters/{page.name})" in TEXT, f"docs/meters.md does not name {page.name}"


def test_every_driver_is_on_a_page_and_no_link_is_dead() -> None:
    everything = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    for driver in meters.names():
        assert f"`{driver}`" in everything, f"no page in docs/meters names driver {driver}"
        assert meters.settings_schema(driver)["properties"]["driver"]
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (DOCS / target).exists(), target


# ---------------------------------------------------------------- the words of the pages


def said_by(folder: Path) -> Iterator[str]:
    """Every text in the code, with ``…`` for what is put in."""
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "…" for p in node.values)
                yield "".join(str(part) for part in parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.mark.parametrize(
    ("name", "least"),
    [("lmg", 12), ("yokogawa", 9), ("ptdaemon", 8), ("shelly", 7), ("tasmota", 5)],
)
def test_sentences_of_a_page_are_those_that_are_printed(name: str, least: int) -> None:
    page = (DOCS / "meters" / f"{name}.md").read_text(encoding="utf-8")
    table = page.split("## Troubleshooting")[1]
    cells = [line.split("|")[2].strip() for line in table.splitlines() if line.startswith("| ")]
    sentences = [cell[1:-1].replace("``", "`") for cell in cells if cell.startswith("`")]
    assert len(sentences) >= least
    folder = Path(meters.__file__).parent
    said = list(said_by(folder))
    for sentence in sentences:
        assert any(sentence in text for text in said), sentence
