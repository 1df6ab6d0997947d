"""Which GPUs a job sees, by CUDA's rules, and the numbers that they get."""

import pytest

from wattproof.sources.gpus import Place, place, visible_uuids

UUIDS = ["GPU-aaaa0000-1", "GPU-aabb1111-2", "GPU-cccc2222-3", "GPU-dddd3333-4"]
MIG = {"MIG-1111-2222": UUIDS[2]}


def seen(words: str | None) -> list[int] | None:
    found = visible_uuids(words, UUIDS, MIG.get)
    return None if found is None else [UUIDS.index(uuid) for uuid in found]


@pytest.mark.parametrize(
    ("words", "indices"),
    [
        (None, None),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,1,2,3", [0, 1, 2, 3]),
        ("2", [2]),
        (" 3 , 1 ", [3, 1]),
        ("3,-1,1", [3]),  # CUDA reads up to the first invalid one
        ("1,9,0", [1]),
        ("GPU-cccc2222-3", [2]),
        ("gpu-CCCC", [2]),
        ("GPU-aa", []),  # two GPUs begin so: CUDA takes neither
        ("GPU-aab,GPU-dddd3333-4", [1, 3]),
        ("GPU-eeee,0", []),
        ("MIG-1111-2222", [2]),
        ("MIG-GPU-dddd3333-4/1/0", [3]),
        ("MIG-unknown", []),
        ("MIG-1111-2222,GPU-cccc2222-3,0", [2, 0]),  # two names of one GPU
        ("aaaa0000", []),
    ],
)
def test_cuda_visible_devices(words: str | None, indices: list[int] | None) -> None:
    assert seen(words) == indices


def test_slots_without_the_variable_are_indices() -> None:
    assert place(UUIDS, environ={}) == [Place(i, i, True) for i in range(4)]


def test_visible_gpus_come_first_in_cuda_order() -> None:
    places = place(UUIDS, environ={"CUDA_VISIBLE_DEVICES": "3,1"})
    assert [p.slot for p in places] == [2, 1, 3, 0]
    assert [p.visible for p in places] == [False, True, False, True]
    assert [p.index for p in places] == [0, 1, 2, 3]
