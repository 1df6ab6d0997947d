"""Who starts when and where: the queue, the choice of slots, the time left."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from wattproof.errors import WattproofError
from wattproof.offline.base import RunTimeline
from wattproof.offline.staging import BEFORE_S, BETWEEN_S, stage
from wattproof.plan import PlanRow
from wattproof.session import estimate, slots
from wattproof.session.dispatch import Queue
from wattproof.session.slots import Slot
from wattproof.virtual import presets
from wattproof.virtual.activity import DTYPE


def row(name: str, setting: str = "packed", **spec: Any) -> PlanRow:
    about = {"kind": "train", "training": {"time_limit_s": 1e9}, **spec}
    return PlanRow(name, setting, "r", 0, None, 0, about, "", {"epochs": 10})


def test_loads_have_the_node_to_themselves() -> None:
    queue = Queue(
        [
            row("a"),
            row("b"),
            row("idle", "calibration"),
            row("c"),
            row("d", "ddp"),
            row("e", "single"),
        ],
        2,
    )

    def begin() -> tuple[str, tuple[int, ...]] | None:
        found = queue.next()
        return None if found is None else (found[0].run_id, found[1])

    assert begin() == ("a", (0,))
    assert begin() == ("b", (1,))
    assert begin() is None
    queue.release(row("b"), [1])
    assert begin() is None, "the load waits for both slots, and nobody overtakes it"
    queue.release(row("a"), [0])
    assert begin() == ("idle", (0,))
    assert begin() is None
    queue.release(row("idle", "calibration"), [0])
    assert begin() == ("c", (0,))
    assert begin() is None
    queue.release(row("c"), [0])
    assert begin() == ("d", (0, 1))
    queue.release(row("d", "ddp"), [0, 1])
    assert begin() == ("e", (0,))
    assert begin() is None
    assert len(queue) == 0


def test_the_order_is_that_of_the_offline_mode() -> None:
    """The same plan with the same durations takes the same slots in both modes."""
    rng = np.random.default_rng(4)
    settings = ["packed"] * 9 + ["calibration"] + ["packed"] * 6
    seconds = {str(i): float(s) for i, s in enumerate(rng.uniform(5, 30, len(settings)))}
    rows = [row(str(i), setting) for i, setting in enumerate(settings)]

    def timeline(one: PlanRow, parameters: Any, start_ns: int, _rng: Any) -> RunTimeline:
        del parameters
        end_ns = start_ns + round(seconds[one.run_id] * 1e9)
        mark = {"kind": "x", "run_id": one.run_id, "slot": 0, "mono_ns": start_ns}
        result = {"run_id": one.run_id, "slot": 0}
        return RunTimeline([mark], np.empty(0, DTYPE), end_ns, result)

    made = stage(rows, presets.get("paper"), 0, (1,), {"train": timeline})
    offline = {result["run_id"]: result["slot"] for result in made.results}

    queue, now, working, live = Queue(rows, 4), BEFORE_S, [], {}
    while queue or working:
        while (found := queue.next()) is not None:
            one, taken = found
            live[one.run_id] = taken[0]
            working.append((now + seconds[one.run_id] + BETWEEN_S, one, taken))
        working.sort(key=lambda item: item[0])
        now, one, taken = working.pop(0)
        queue.release(one, taken)
    assert live == offline


@pytest.mark.parametrize(
    ("visible", "boards", "usable"),
    [
        (None, [0, 1, 2, 3], 4),
        ("", [0, 1, 2, 3], 4),
        ("2", [2, 0, 1, 3], 1),
        ("3,1", [3, 1, 0, 2], 2),
        ("7", [0, 1, 2, 3], 1),
        ("4,5", [0, 1, 2, 3], 2),
        ("GPU-abc,GPU-def,GPU-x", [0, 1, 2, 3], 3),
    ],
)
def test_boards_of_a_virtual_node(visible: str | None, boards: list[int], usable: int) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert slots.wanted_boards(4, environ) == boards
    assert slots.visible_count(4, environ) == usable


FOUND = [Slot(k, f"GPU-{k}", f"GPU-{k}") for k in range(4)]
STOP = {"sources": {"nvml": {}, "meter": {}}, "on_missing_source": "stop"}


def test_slots_are_chosen() -> None:
    assert slots.choose(FOUND, 4, None, {"packed"}, STOP) == FOUND
    assert slots.choose(FOUND, 4, 2, {"packed"}, STOP) == FOUND[:2]
    assert slots.choose(FOUND, 4, None, {"ddp"}, STOP) == FOUND
    only = {"sources": {"nvml": {"gpus": "visible"}}, "on_missing_source": "stop"}
    assert slots.choose(FOUND, 8, None, {"ddp"}, only) == FOUND
    on_cpu = {"sources": {"host": {}}, "on_missing_source": "stop"}
    assert slots.choose([], 0, None, {"single"}, on_cpu) == [Slot(0, None, None)]
    without = {**STOP, "on_missing_source": "continue"}
    assert slots.choose([], 0, None, {"single"}, without) == [Slot(0, None, None)]


@pytest.mark.parametrize(
    ("found", "gpus", "number", "setting", "words"),
    [
        (FOUND, 4, 5, "packed", ("'plan.slots' is 5", "4 GPU(s)", "lower it")),
        ([], 0, None, "single", ("no GPU", "records NVML")),
        ([], 0, 2, "packed", ("no GPU",)),
        (FOUND, 8, None, "ddp", ("4 of the 8 GPUs", "sources.nvml.gpus: visible")),
    ],
)
def test_what_a_node_lacks_is_one_sentence(found, gpus, number, setting, words) -> None:
    with pytest.raises(WattproofError) as caught:
        slots.choose(found, gpus, number, {setting}, STOP)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_device_i_of_the_process_is_slot_i() -> None:
    assert slots.environment(FOUND[1:3])["CUDA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"


def test_time_left() -> None:
    working = [estimate.Working(row("a"), [0], 30.0, 3), estimate.Working(row("b"), [1], 5.0, 0)]
    assert estimate.pace_s([], working[1:]) is None
    pace = estimate.pace_s([(100.0, 10)], working)
    assert pace == pytest.approx(10.0)
    # a: 70 s to go on slot 0; b: 95 s on slot 1; c goes to slot 0, d to slot 1.
    waiting = [row("c"), row("d")]
    assert estimate.left_s(waiting, working, pace, 2) == pytest.approx(195.0)
    load = dataclasses.replace(row("idle", "calibration"), spec={"kind": "load", "seconds": 6})
    assert estimate.left_s([*waiting, load], working, pace, 2) == pytest.approx(203.0)
    assert estimate.left_s(waiting, working, None, 2) is None
    assert estimate.left_s([load], [], None, 2) == pytest.approx(8.0)
