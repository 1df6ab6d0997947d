"""Surrogates of accuracy, energy and time."""
