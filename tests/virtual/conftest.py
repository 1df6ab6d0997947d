"""A virtual node with a past: events can be written at any instant of the last 1000 s."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wattproof.virtual.logtail import RECORD
from wattproof.virtual.node import NODE_FILE, NodeSpec, create_node

AGE_NS = 1000 * 10**9


@dataclasses.dataclass
class Bench:
    spec: NodeSpec
    node: Path
    truth: Path

    def at(self, t_ns: int, slot: int, *loads: float) -> None:
        compute, memory, cpu, dram = (*loads, 0.0, 0.0, 0.0, 0.0)[:4]
        with self.spec.activity_path.open("ab") as log:
            log.write(RECORD.pack(t_ns, slot, 2, compute, memory, cpu, dram))


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    def make(preset: str = "laptop", seed: int = 7, **overrides: Any) -> Bench:
        node, truth = tmp_path / "node", tmp_path / "truth"
        spec = create_node(node, truth, preset, seed, overrides, [3])
        spec = dataclasses.replace(spec, t0_ns=time.monotonic_ns() - AGE_NS)
        for folder in (node, truth):
            (folder / NODE_FILE).write_text(spec.to_json())
        return Bench(spec, node, truth)

    return make
