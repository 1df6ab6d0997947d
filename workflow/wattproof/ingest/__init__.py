"""Readers of recordings that others made: one file per foreign format."""
