"""All models of a surrogate as one ONNX graph: open, the same bytes for the same models.

Input ``x`` (n × k, single precision) are encoded configurations. Outputs are those of
`wattproof.surrogate.heads.Heads`: ``accuracy`` and ``cost`` (n × B × M), and ``weights`` (n × …)
where costs are written by more than the line.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wattproof.surrogate.models import Fitted, Linear, Scaler

if TYPE_CHECKING:
    import lightgbm as lgb

OPSET, TREES_OPSET = 15, 1
"""Operator sets that every onnxruntime since 1.10 reads."""
IR_VERSION = 8


class _Graph:
    """Nodes and constants of a graph that is being built."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        domain = "ai.onnx.ml" if kind.startswith("Tree") else ""
        self.nodes.append(
            helper.make_node(kind, inputs, [output], name=output, domain=domain, **attributes)
        )
        return output

    def constant(self, name: str, values: NDArray[Any]) -> str:
        from onnx import numpy_helper

        kind = np.int64 if values.dtype.kind == "i" else np.float32
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, kind), name))
        return name

    def linear(self, name: str, linear: Linear) -> str:
        """N × M; a constant row where nothing is read from the inputs."""
        factors = self.constant(f"{name}_coefficients", linear.coefficients)
        shift = self.constant(f"{name}_intercept", linear.intercept[None, :])
        return self.add("Gemm", ["unit", factors, shift], f"{name}_linear")

    def trees(self, name: str, boosters: tuple[lgb.Booster, ...]) -> str:
        """N × M: one ensemble a column."""
        columns = []
        for number, booster in enumerate(boosters):
            output = f"{name}_trees{number}"
            self.add("TreeEnsembleRegressor", ["unit"], output, **_tree_attributes(booster))
            columns.append(output)
        return self.add("Concat", columns, f"{name}_trees", axis=1)

    def net(self, name: str, fitted: Fitted) -> str:
        """All members side by side, n × (B · M): matrices with their weights along the diagonal.

        Two thirds of the products are with zeros; three large products are still several times
        faster than many small ones, for one query and for thousands.
        """
        assert fitted.net is not None
        members = len(fitted.net.weights[0])
        line = Linear(
            np.tile(fitted.linear.intercept, members), np.tile(fitted.linear.coefficients, members)
        )
        found, last = "unit", self.linear(name, line)
        for layer in range(3):
            weights, shift = fitted.net.weights[2 * layer : 2 * layer + 2]
            wide = np.concatenate(list(weights), axis=1) if layer == 0 else _diagonal(weights)
            factors = self.constant(f"{name}_w{layer}", wide)
            row = self.constant(f"{name}_b{layer}", shift.reshape(1, -1))
            if layer < 2:
                product = self.add("Gemm", [found, factors, row], f"{name}_layer{layer}")
                found = self.add("Tanh", [product], f"{name}_hidden{layer}")
        shifted = self.add("Add", [last, row], f"{name}_shifted")
        return self.add("Gemm", [found, factors, shifted], f"{name}_net")


def to_onnx(
    scaler: Scaler,
    fitted: dict[str, Fitted],
    weights: Linear | None,
    columns: list[str],
    encoding: str,
) -> bytes:
    """Return the graph.

    Args:
        scaler: Standardisation of the columns.
        fitted: Models by group.
        weights: Of the rising functions; None where there is a single one.
        columns: Names of the columns; kept in the file's metadata.
        encoding: Checksum of the encoding; kept in the file's metadata.
    """
    from onnx import TensorProto, helper

    graph = _Graph()
    centred = graph.add("Sub", ["x", graph.constant("centre", scaler.centre)], "centred")
    graph.add("Mul", [centred, graph.constant("factor", scaler.factor)], "unit")
    for name, one in sorted(fitted.items()):
        found = graph.linear(name, one.linear) if one.net is None else graph.net(name, one)
        if one.boosters:
            found = graph.add("Add", [found, graph.trees(name, one.boosters)], f"{name}_sum")
        shape = graph.constant(f"{name}_shape", np.array([-1, one.members, one.outputs]))
        graph.add("Reshape", [found, shape], name)
    if weights is not None:
        graph.add("Identity", [graph.linear("weights", weights)], "weights")

    def value(name: str, shape: list[Any]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    outputs = [value(name, ["n", None, None]) for name in sorted(fitted)]
    if weights is not None:
        outputs.append(value("weights", ["n", None]))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "surrogate",
            [value("x", ["n", len(columns)])],
            outputs,
            graph.constants,
        ),
        producer_name="wattproof",
        opset_imports=[
            helper.make_opsetid("", OPSET),
            helper.make_opsetid("ai.onnx.ml", TREES_OPSET),
        ],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(model, {"columns": json.dumps(columns), "encoding": encoding})
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _diagonal(blocks: NDArray[Any]) -> NDArray[Any]:
    """B matrices (B × p × q) along the diagonal of one, (B · p) × (B · q)."""
    members, p, q = blocks.shape
    found = np.zeros((members, p, members, q), dtype=blocks.dtype)
    found[np.arange(members), :, np.arange(members)] = blocks
    return found.reshape(members * p, members * q)


def _tree_attributes(booster: lgb.Booster) -> dict[str, Any]:
    """Attributes of the node that evaluates the trees, as onnxmltools converts them."""
    import onnxmltools
    from onnx import helper
    from onnxmltools.convert.common.data_types import FloatTensorType

    model = onnxmltools.convert_lightgbm(
        booster,
        initial_types=[("x", FloatTensorType([None, booster.num_feature()]))],
        target_opset=OPSET,
        zipmap=False,
    )
    (node,) = [node for node in model.graph.node if node.op_type == "TreeEnsembleRegressor"]
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}
