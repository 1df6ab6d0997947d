"""Two ways to answer the same question, as known benchmarks do it; only their speed counts here.

Neither package installs beside ours (YAHPO wants NumPy 1 and an old ConfigSpace, EA-HAS-Bench does
not import), so their ways are rebuilt from their sources as the facts pages describe them
(surrogates.md, sections 3 to 6; ea_has_bench.md, section 7). Weights are random or fitted briefly:
what they answer is no prediction, what it takes is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb
from typing import Any

import numpy as np
import pandas as pd
from ConfigSpace import Configuration, ConfigurationSpace

Config = Mapping[str, Any]


class Yahpo:
    """A dictionary is validated by ConfigSpace, converted, and run through a tabular ResNet.

    One answer has all targets, but neither intervals nor noise nor a domain. Many are a list of
    dictionaries, converted one by one and run at once.
    """

    def __init__(self, space: ConfigurationSpace, targets: Sequence[str], parameters: int) -> None:
        """Build the graph.

        Args:
            space: Search space.
            targets: What is answered.
            parameters: Size of the ResNet, in parameters; it gets the next width above.
        """
        self.space, self.targets = space, list(targets)
        self.words = {
            name: {choice: place for place, choice in enumerate(parameter.choices)}
            for name, parameter in space.items()
            if hasattr(parameter, "choices")
        }
        self.numbers = [name for name in space if name not in self.words]
        width = 16
        while self._size(width) < parameters:
            width += 8
        self.parameters = self._size(width)
        self.session = self._session(width)

    def query(self, config: Config, epoch: int, validate: bool = True) -> dict[str, float]:
        """Answer one configuration."""
        return self.query_many([config], [epoch], validate)[0]

    def query_many(
        self, configs: Sequence[Config], epochs: Sequence[int], validate: bool = True
    ) -> list[dict[str, float]]:
        """Answer many configurations."""
        words, numbers = [], []
        for config, epoch in zip(configs, epochs, strict=True):
            checked: Any = config
            if validate:
                checked = dict(Configuration(self.space, values=dict(config)))
            words.append([codes[checked[name]] for name, codes in self.words.items()])
            numbers.append([float(checked[name]) for name in self.numbers] + [float(epoch)])
        found = self.session.run(
            None,
            {"words": np.array(words, dtype=np.int64), "numbers": np.array(numbers, np.float32)},
        )[0]
        return [dict(zip(self.targets, row, strict=True)) for row in found.tolist()]

    def _size(self, width: int) -> int:
        inputs = len(self.numbers) + 1 + 4 * len(self.words)
        return inputs * width + 2 * (4 * width * width + 3 * width) + width * len(self.targets)

    def _session(self, width: int) -> Any:
        import onnx
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper

        rng = np.random.default_rng(0)
        nodes, constants = [], []

        def constant(name: str, *shape: int) -> str:
            values = (rng.normal(size=shape) * 0.05).astype(np.float32)
            constants.append(numpy_helper.from_array(values, name))
            return name

        parts = ["numbers"]
        for place, (name, codes) in enumerate(self.words.items()):
            at = f"at{place}"
            constants.append(numpy_helper.from_array(np.array(place, dtype=np.int64), at))
            nodes.append(helper.make_node("Gather", ["words", at], [f"code{place}"], axis=1))
            table = constant(f"table_{name}", len(codes), 4)
            nodes.append(helper.make_node("Gather", [table, f"code{place}"], [f"word{place}"]))
            parts.append(f"word{place}")
        nodes.append(helper.make_node("Concat", parts, ["joined"], axis=1))
        inputs = len(self.numbers) + 1 + 4 * len(self.words)
        weights = [constant("w_in", inputs, width), constant("b_in", width)]
        nodes.append(helper.make_node("Gemm", ["joined", *weights], ["h0"]))
        for block in range(2):
            up = [constant(f"w{block}u", width, 2 * width), constant(f"b{block}u", 2 * width)]
            down = [constant(f"w{block}d", 2 * width, width), constant(f"b{block}d", width)]
            nodes += [
                helper.make_node("Gemm", [f"h{block}", *up], [f"u{block}"]),
                helper.make_node("Relu", [f"u{block}"], [f"r{block}"]),
                helper.make_node("Gemm", [f"r{block}", *down], [f"d{block}"]),
                helper.make_node("Add", [f"h{block}", f"d{block}"], [f"h{block + 1}"]),
            ]
        head = [constant("w_out", width, len(self.targets)), constant("b_out", len(self.targets))]
        nodes.append(helper.make_node("Gemm", ["h2", *head], ["y"]))
        graph = helper.make_graph(
            nodes,
            "resnet",
            [
                helper.make_tensor_value_info("words", TensorProto.INT64, ["n", len(self.words)]),
                helper.make_tensor_value_info(
                    "numbers", TensorProto.FLOAT, ["n", len(self.numbers) + 1]
                ),
            ],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", len(self.targets)])],
            constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
        onnx.checker.check_model(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )


class EaHas:
    """26 features; five networks for a quartic Bézier curve of accuracy, boosted trees for costs.

    One at a time; there is no batch. What is left out favours it: x of the control points is fixed
    and evenly spaced, so that a curve is decoded by one look at 1,000 points (0.15 ms) instead of
    an intersection an epoch (1 to 5 ms); nothing is validated. Energy and time are means an epoch
    times epochs, as there.
    """

    LEVELS: Mapping[str, tuple[Any, ...]] = {
        "lr": (0.001, 0.003, 0.005, 0.01, 0.03, 0.05, 0.1, 0.3, 0.5, 1.0),
        "optimizer": ("sgd", "adam", "adamw"),
        "policy": ("cos", "exp", "lin"),
        "cutout": (0, 16),
        "epochs": (50, 100, 200),
    }
    SCALED: Mapping[str, tuple[float, float]] = {
        "depth": (6, 15),
        "w_0": (48, 128),
        "w_a": (8, 32),
        "w_m": (1.5, 3),
        "group_width": (1, 32),
    }

    def __init__(self, dataset: pd.DataFrame, curves: pd.DataFrame) -> None:
        """Fit on measured runs.

        Args:
            dataset: Table ``dataset`` of an EA-HAS space.
            curves: Table ``curves``.
        """
        import lightgbm
        from sklearn.neural_network import MLPRegressor

        runs = dataset[dataset["status"] == "ok"]
        names = {c: str(c).removeprefix("config_") for c in runs if str(c).startswith("config_")}
        configs = runs[list(names)].rename(columns=names).to_dict("records")
        features = np.array([self.features(config) for config in configs])
        by_run = curves.groupby("run_id")
        labels = np.stack([_control(by_run.get_group(i)["val_accuracy"]) for i in runs["run_id"]])
        self.members = [
            MLPRegressor(hidden_layer_sizes=(175,) * 3, max_iter=15, random_state=seed).fit(
                features, labels
            )
            for seed in range(5)
        ]
        means = by_run[["node_energy_j", "time_s"]].mean().reindex(runs["run_id"])
        known = means.notna().all(axis=1).to_numpy()
        self.costs = {
            name: lightgbm.LGBMRegressor(n_estimators=500, n_jobs=1, verbose=-1).fit(
                features[known], means.loc[known, name]
            )
            for name in means
        }
        self.grid = np.linspace(0.0, 1.0, 1000)
        self.basis = _bernstein(self.grid)

    def features(self, config: Config) -> list[float]:
        """The 26 features of one configuration."""
        row = [(config[n] - low) / (high - low) for n, (low, high) in self.SCALED.items()]
        for name, levels in self.LEVELS.items():
            row += [float(config[name] == level) for level in levels]
        return row

    def query(self, config: Config, epochs: int) -> dict[str, Any]:
        """Answer one configuration: its accuracy by epoch, energy, time."""
        row = np.array([self.features(config)])
        progress = np.arange(1, epochs + 1) / epochs
        curves = [
            np.interp(progress, self.grid, self.basis @ member.predict(row)[0])
            for member in self.members
        ]
        costs = {name: float(model.predict(row)[0]) * epochs for name, model in self.costs.items()}
        return {"accuracy": np.mean(curves, axis=0), **costs}


def _bernstein(t: np.ndarray) -> np.ndarray:
    return np.stack([comb(4, i) * t**i * (1 - t) ** (4 - i) for i in range(5)], axis=1)


def _control(accuracy: pd.Series) -> np.ndarray:
    """Control points of a measured curve, by least squares."""
    t = np.arange(1, len(accuracy) + 1) / len(accuracy)
    return np.linalg.lstsq(_bernstein(t), accuracy.to_numpy(float), rcond=None)[0]
