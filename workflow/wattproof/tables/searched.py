"""What the search demonstration finds: how far searches got, and the fronts they would publish."""

from __future__ import annotations

from wattproof.tables.columns import (
    BOOL,
    F64,
    I32,
    I64,
    STRING,
    TableSchema,
)
from wattproof.tables.columns import (
    column as c,
)

SCHEMAS = (
    TableSchema(
        "search",
        "a checkpoint of a search: method × source of energy × seed × energy really spent",
        (
            c("method", STRING, "random | evolution | nsga2 | tpe | moasha"),
            c("source", STRING, "source of energy that the search believes in"),
            c("calibrated", BOOL, "whether that is the one that everything is scored by"),
            c("seed", I64, "seed; searches are paired by it"),
            c("checkpoint", I32, "0-based"),
            c("true_j", F64, "calibrated energy of the checkpoint"),
            c("reported_j", F64, "energy spent by then, as the source reports it"),
            c("trained", I32, "trainings that had ended by then"),
            c("front", I32, "configurations that the search would publish"),
            c("hypervolume", F64, "of what they are worth; 1 = reference front"),
            c("hypervolume_reported", F64, "of what they were reported to be"),
            c("ended", BOOL, "whether the search had spent its budget"),
            c("budget_j", F64, "nominal budget, as the source reports energy"),
            c("total_j", F64, "calibrated energy that the whole search spent"),
            c("epochs", I64, "epochs that the whole search trained"),
            c("refused", I64, "proposals outside of what the surrogates answer for"),
        ),
    ),
    TableSchema(
        "search_front",
        "a configuration on the final front of a search, or on the reference front",
        (
            c("method", STRING, "method, or reference"),
            c("source", STRING, "source of energy that the search believes in"),
            c("seed", I64, "seed of the search"),
            c("network_key", STRING, "realised network"),
            c("config", STRING, "the configuration, as JSON"),
            c("energy_j", F64, "calibrated energy of the training, without noise"),
            c("energy_reported_j", F64, "the same as the search was told it", True),
            c("test_accuracy", F64, "without noise, 0 to 1", True),
            c("val_accuracy", F64, "as the search saw it, 0 to 1", True),
            c("inference_j_per_image", F64, "without noise", True),
            c("beaten", BOOL, "whether another configuration of the same search really beats it"),
        ),
    ),
)
