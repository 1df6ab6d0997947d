"""The files of a surrogate and the version of what they mean; writer and reader share it."""

from __future__ import annotations

VERSION = 3
"""Raised when a file of the surrogate changes its meaning: older ones are refused, not misread."""

GRAPH = "models/surrogate.onnx"
FILES = ("encoding.json", "intervals.json", "noise.json", "novelty.json", "surrogate.json", GRAPH)
"""All files of a surrogate, relative to its folder."""
