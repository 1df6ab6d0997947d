"""Instruments: one file each, all with the interface of `wattproof.sources.base.Source`."""
