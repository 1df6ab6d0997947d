"""The virtual node: a model of a GPU node with a known true power, always labelled simulated.

The workload publishes what it does (`ActivityWriter`, `training_load`); true power is a pure
function of that log (`model`); sensors that stand where the driver stands compute their readings
from the same log, each in its own process. `truth` is for checks only.
"""

from wattproof.virtual.activity import HOST_SLOT, ActivityReader, ActivityWriter
from wattproof.virtual.endpoints import endpoints
from wattproof.virtual.load import CALIBRATION_LOADS, Load, training_load
from wattproof.virtual.node import NodeSpec, create_node

__all__ = [
    "CALIBRATION_LOADS",
    "HOST_SLOT",
    "ActivityReader",
    "ActivityWriter",
    "Load",
    "NodeSpec",
    "create_node",
    "endpoints",
    "training_load",
]
