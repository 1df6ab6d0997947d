"""Reading questions: one at a time and many at once give the same bits, and the same sentences."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ConfigSpace import Categorical, ConfigurationSpace, Constant, Float, Integer
from hypothesis import given
from hypothesis import strategies as st
from said import sentence

from wattproof import space
from wattproof.benchmark.domain import Axis, Domain, check_epochs
from wattproof.benchmark.inputs import Reader
from wattproof.space.quick import Realiser
from wattproof.surrogate.encoding import COMPLEXITY, Encoding, learn

SPACE = "ea_has_tinyimagenet"
LENGTHS = {50: 5, 100: 10, 200: 20}
CONFIGS = space.get(SPACE).sample(400, seed=8)
SIZE = {"resolution": 64, "classes": 200}


def columns(configs: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    found = space.get(SPACE)
    costs = [found.realise(config, **SIZE).complexity() for config in configs]
    return {
        **{key: np.array([config[key] for config in configs]) for key in configs[0]},
        **{name: np.array([getattr(c, name) for c in costs], dtype=float) for name in COMPLEXITY},
        "epochs": np.array([LENGTHS[config["epochs"]] for config in configs], dtype=float),
    }


def encoding() -> Encoding:
    """Learned from the first quarter: some values and costs of the others were never trained."""
    trained = [c for c in CONFIGS[:100] if c["policy"] != "exp" and c["lr"] > 0.001]
    return learn(columns(trained), list(CONFIGS[0]))


@pytest.fixture(scope="module")
def reader() -> Reader:
    found = space.get(SPACE)
    return Reader(Domain(found.configspace()), encoding(), Realiser(found, **SIZE), LENGTHS)


def test_rows_are_those_of_the_encoding(reader: Reader) -> None:
    """The oracle is the encoding itself, which the models were fitted with."""
    found = reader.many(pd.DataFrame(CONFIGS))
    given_columns = columns(CONFIGS)
    assert np.array_equal(found.static, encoding().static(given_columns))
    assert np.array_equal(found.inside, encoding().in_domain(given_columns))
    assert 0.02 < found.inside.mean() < 0.98
    assert found.epochs.tolist() == [LENGTHS[config["epochs"]] for config in CONFIGS]
    keys = [space.get(SPACE).realise(config).key for config in CONFIGS]
    assert found.networks == keys


def test_one_is_a_row_of_many_to_the_last_bit(reader: Reader) -> None:
    many = reader.many(pd.DataFrame(CONFIGS))
    draws = reader.draws(many, 17)
    for row, config in enumerate(CONFIGS):
        one = reader.one(config)
        assert one.static.tobytes() == many.static[row].tobytes()
        assert (one.epochs[0], one.networks[0]) == (many.epochs[row], many.networks[row])
        assert one.inside[0] == many.inside[row]
        assert reader.draws(one, 17)[0] == draws[row]


@given(st.lists(st.integers(0, 399), min_size=1, max_size=30), st.integers(-(2**80), 2**80))
def test_rows_know_nothing_of_each_other(reader: Reader, rows: list[int], seed: int) -> None:
    """Any order, any duplicates, any order of the columns."""
    everything = reader.many(pd.DataFrame(CONFIGS))
    some = reader.many(pd.DataFrame([CONFIGS[row] for row in rows])[sorted(CONFIGS[0])])
    assert np.array_equal(some.static, everything.static[rows])
    assert some.networks == [everything.networks[row] for row in rows]
    drawn = reader.draws(everything, seed)
    assert np.array_equal(reader.draws(some, seed), drawn[rows])


def test_draws_are_told_apart_by_every_parameter_and_seed(reader: Reader) -> None:
    many = reader.many(pd.DataFrame(CONFIGS))
    draws = np.stack([reader.draws(many, seed) for seed in range(5)])
    assert len(np.unique(draws)) == draws.size
    for name, axis in Domain(space.get(SPACE).configspace()).axes.items():
        if len(axis.values) > 1 and name in space.get(SPACE).training:
            both = [CONFIGS[0] | {name: value} for value in axis.values[:2]]
            found = reader.draws(reader.many(pd.DataFrame(both)), 0)
            assert found[0] != found[1], name
    # Each bit is set in about half of 2,000 draws.
    bits = np.unpackbits(draws.reshape(-1, 1).view(np.uint8), axis=1).mean(axis=0)
    assert np.abs(bits - 0.5).max() < 0.06


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, object])
def test_numbers_of_any_type_are_the_same_number(reader: Reader, kind: type) -> None:
    whole = ["depth", "w_0", "group_width", "cutout", "epochs", "batch_size"]
    frame = pd.DataFrame(CONFIGS[:50])
    cast = frame.astype(dict.fromkeys(whole, kind))
    found, expected = reader.many(cast), reader.many(frame)
    assert found.static.tobytes() == expected.static.tobytes()
    assert np.array_equal(reader.draws(found, 1), reader.draws(expected, 1))
    one = {k: kind(v) if k in whole and kind is not object else v for k, v in CONFIGS[0].items()}
    assert reader.one(one).static.tobytes() == expected.static[0].tobytes()


WRONG = (
    *(("depth", value) for value in (99, 0, -1, 7.5, float("nan"), float("inf"), "7", None)),
    *(("depth", value) for value in (True, np.bool_(True), [7], (7,), {7}, {}, np.array([7]))),
    *(("optimizer", value) for value in ("SGD", 3, None, float("nan"), ["sgd"], True, b"sgd")),
    *(("lr", value) for value in (0.1001, "high", np.float32(0.1), 10**400, complex(1, 1))),
)


@pytest.mark.parametrize(("name", "value"), WRONG, ids=lambda v: repr(v)[:12])
def test_every_wrong_value_is_one_sentence(reader: Reader, name: str, value: Any) -> None:
    wrong = CONFIGS[0] | {name: value}
    message = sentence(reader.one, wrong)
    assert message.startswith(f"The configuration has {name}={value!r}, which is not in the space")
    frame = pd.DataFrame([CONFIGS[0]] * 3).astype(object)
    frame.at[1, name] = value
    assert f"The frame has {name}=" in sentence(reader.many, frame)


def test_wrong_columns_of_numbers(reader: Reader) -> None:
    frame = pd.DataFrame(CONFIGS[:5])
    for column in ([7, 8, 99, 9, 10], [7.0, 8.0, 99.0, np.nan, 10.0]):
        assert "The frame has depth=99" in sentence(reader.many, frame.assign(depth=column))
    assert "depth=True" in sentence(reader.many, frame.assign(depth=True))
    assert "depth=nan" in sentence(reader.many, frame.assign(depth=np.nan))
    missing = frame.astype({"depth": "Int64"})
    missing.loc[2, "depth"] = pd.NA
    assert "The frame has depth=" in sentence(reader.many, missing)
    assert "optimizer=3" in sentence(reader.many, frame.assign(optimizer=3))
    assert "depth=" in sentence(reader.many, frame.assign(depth="7"))
    as_category = frame.astype({"optimizer": "category"})
    assert np.array_equal(reader.many(as_category).static, reader.many(frame).static)


def test_wrong_keys(reader: Reader) -> None:
    good = CONFIGS[0]
    assert "a pandas frame with one a row, not list" in sentence(reader.many, [good])
    less = {key: value for key, value in good.items() if key != "lr"}
    assert "lacks 'lr'; add it, one of 0.001, " in sentence(reader.one, less)
    assert "Did you mean 'depth'?" in sentence(reader.one, less | {"dept": 7})
    assert "unknown key '5'" in sentence(reader.one, good | {5: 7})
    assert "The frame lacks 'lr'" in sentence(reader.many, pd.DataFrame([less]))
    assert "The frame has the unknown key 'x'" in sentence(
        reader.many, pd.DataFrame([good | {"x": 1}])
    )
    assert "is a dictionary" in sentence(reader.one, list(good.values()))
    assert "is a dictionary" in sentence(reader.one, None)


def test_points_that_build_nothing_are_told_apart(reader: Reader) -> None:
    bad = CONFIGS[0] | {"depth": 6, "w_0": 128, "w_a": 8.0, "w_m": 3.0}
    message = sentence(reader.one, bad)
    assert "does not build an allowed network" in message
    assert sentence(reader.many, pd.DataFrame([CONFIGS[1], bad])) == message


def test_axes_of_booleans_keep_them_apart_from_numbers() -> None:
    axis = Axis("flag", (False, True))
    wanted = np.array([True, False, 1, 0, "x", None, np.bool_(True)], dtype=object)
    assert axis.find(wanted)[[0, 1, 6]].tolist() == [1, 0, 1]
    numbers = Axis("n", (0, 1))
    assert numbers.find(wanted).tolist() == [-1, -1, 1, 0, -1, -1, -1]
    assert numbers.find(np.array([True, False])).tolist() == [-1, -1]


def test_kinds_of_parameters() -> None:
    found = ConfigurationSpace(
        {
            "a": Integer("a", (-2, 2)),
            "b": Categorical("b", ["x", "y"]),
            "c": Constant("c", 5),
        }
    )
    domain = Domain(found)
    for a, b in itertools.product(range(-2, 3), "xy"):
        places = domain.places({"a": a, "b": b, "c": 5.0})
        assert [domain.axes[n].values[p] for n, p in zip("abc", places, strict=True)] == [a, b, 5]
    endless = ConfigurationSpace({"f": Float("f", (0.0, 1.0))})
    assert "values without end" in sentence(Domain, endless)


def test_epochs_of_a_column() -> None:
    lengths = np.array([5, 5, 10])
    assert check_epochs(np.array([1, 5, 10]), lengths).tolist() == [1, 5, 10]
    assert check_epochs(np.array([1, None, 10], dtype=object), lengths).tolist() == [1, 5, 10]
    for wrong in (np.array([1, 6, 1]), np.array([1, 0, 1]), np.array([1.0, 2.0, 3.0])):
        assert "is out of range: this training has epochs 1 to 5" in sentence(
            check_epochs, wrong, lengths
        )
