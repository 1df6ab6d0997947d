"""Encoding: exact columns, checksum, domain."""

import json

import numpy as np
import pytest

from wattproof.errors import WattproofError
from wattproof.surrogate.encoding import Encoding, learn

COLUMNS = {
    "lr": np.array([0.001, 0.1]),
    "cutout": np.array([0.0, 8.0]),
    "optimizer": np.array(["sgd", "adam"]),
    "epochs": np.array([4.0, 6.0]),
    "macs": np.array([1e6, 2e6]),
    "params": np.array([1e4, 2e4]),
    "activations": np.array([1e5, 2e5]),
}
PARAMETERS = ["cutout", "epochs", "lr", "optimizer"]


def test_columns_are_exactly_these() -> None:
    encoding = learn(COLUMNS, PARAMETERS)
    assert encoding.names == [
        "cutout",
        "log_lr",
        "optimizer=adam",
        "optimizer=sgd",
        "log_epochs",
        "log_macs",
        "log_params",
        "log_activations",
    ]
    expected = [0, np.log(0.001), 0, 1, np.log(4), np.log(1e6), np.log(1e4), np.log(1e5)]
    assert encoding.static(COLUMNS)[0] == pytest.approx(expected, rel=1e-6)


def test_few_and_frequent_numbers_are_also_levels() -> None:
    columns = {name: np.tile(values, 30) for name, values in COLUMNS.items()}
    columns["group_width"] = np.repeat([1, 4, 24], 20)
    columns["depth"] = np.array([6, 7, 8, 9] * 14 + [10] * 4)
    encoding = learn(columns, [*PARAMETERS, "group_width", "depth"])
    assert [name for name in encoding.names if "=" in name and "opt" not in name] == [
        *("group_width=1", "group_width=4", "group_width=24")
    ]
    again = Encoding.from_json(encoding.to_json())
    found = again.table("group_width", [1, 24, 24.0, 5])[:, 1:]
    assert found.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]


def test_round_trip_and_checksum() -> None:
    encoding = learn(COLUMNS, PARAMETERS)
    assert Encoding.from_json(encoding.to_json()) == encoding
    content = json.loads(encoding.to_json())
    content["features"].reverse()
    with pytest.raises(WattproofError, match="checksum"):
        Encoding.from_json(json.dumps(content))


def one(**changes: object) -> dict[str, np.ndarray]:
    first = {name: values[:1] for name, values in COLUMNS.items()}
    return first | {name: np.array([value]) for name, value in changes.items()}


@pytest.mark.parametrize(
    ("changes", "inside"),
    [
        ({}, True),
        ({"lr": 0.1}, True),
        ({"lr": 0.1001}, False),
        ({"macs": 2.1e6}, False),
        ({"optimizer": "adamw"}, False),
        ({"epochs": 5}, True),
    ],
)
def test_in_domain(changes: dict[str, object], inside: bool) -> None:
    assert learn(COLUMNS, PARAMETERS).in_domain(one(**changes)).tolist() == [inside]


def test_a_zero_that_was_never_trained_stays_finite() -> None:
    """The logarithm of a parameter that is 0 in the space but was positive in all trainings."""
    assert np.isfinite(learn(COLUMNS, PARAMETERS).static(one(lr=0.0))).all()


def test_further_costs_stand_for_the_parameters_that_shape_the_network() -> None:
    columns = {
        **COLUMNS,
        "op_1": np.array(["conv", "pool"]),
        "add_moved": np.array([0.0, 5e6]),
        "pool_moved": np.array([2e6, 3e7]),
        "cell_depth": np.array([0.0, 2.0]),
    }
    encoding = learn(columns, [*PARAMETERS, "op_1"], opaque=["op_1"])
    assert encoding.names[-3:] == ["log_add_moved", "log_pool_moved", "cell_depth"]
    assert not any(name.startswith("op_1") for name in encoding.names)
    assert "op_1" not in encoding.categories
    row = encoding.static(columns)[0]
    # A cost of 0 enters as half of the smallest other one: finite, and below all of them.
    assert row[-3:].tolist() == pytest.approx([np.log(2.5e6), np.log(2e6), 0.0])
    assert encoding.in_domain(columns).all()
