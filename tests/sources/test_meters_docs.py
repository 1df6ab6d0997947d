"""The example of docs/meters.md works as printed, against a real HTTP server."""

import re
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from wattproof.errors import WattproofError
from wattproof.sources.base import Source, Status

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "meters.md").read_text(encoding="utf-8")


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
    scope: dict[str, object] = {}
    exec(block.group(1), scope)
    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    meter = scope["build"]({"port": f"http://127.0.0.1:{server.server_port}/"}, None)
    assert isinstance(meter, Source)
    assert meter.open().channels[0].name == "node.ac"
    assert [(r.value, r.status) for r in meter.read()] == [(231.5, Status.OK)]
    server.shutdown()
    server.server_close()
    assert [(r.value, r.status) for r in meter.read()] == [(None, Status.TIMEOUT)]
    with pytest.raises(WattproofError, match=r"sources\.meter\.port"):
        meter.open()
