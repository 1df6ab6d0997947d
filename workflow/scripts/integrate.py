"""Rule integrate: cut the windows and give each its energy by every channel."""

import pandas as pd

from wattproof import attribution, energy, quality, rule, tables, usage

with rule.logged(snakemake) as log:
    # One channel at a time is in memory: a recording may be of any length.
    samples = tables.SampleStore.open(snakemake.input.samples)
    channels, marks, runs, found = (
        tables.read_frame(snakemake.input[name], name)
        for name in ("channels", "marks", "runs", "clocks")
    )
    if snakemake.input.windows:
        windows = tables.read_frame(snakemake.input.windows, "windows")
    else:
        windows = energy.cut_windows(marks, runs)
    # Where runs share the node, the instants at which one begins or ends are edges, too.
    parts = attribution.parts(windows, marks, runs)
    cut = pd.concat([windows, parts], ignore_index=True) if len(parts) else windows
    table = energy.integrate(samples, channels, found, cut, snakemake.params.settings)
    shares = attribution.shares(windows, marks, runs, table)
    table = table[table["level"] != attribution.PART].reset_index(drop=True)
    table = quality.flag_windows(table, channels)
    utilisation = usage.utilisation_by_window(samples, channels, windows, found)
    meta = tables.read_meta(snakemake.input.samples)
    tables.write(windows, "windows", snakemake.output.windows, meta)
    tables.write(table, "energy", snakemake.output.energy, meta)
    tables.write(shares, "shares", snakemake.output.shares, meta)
    tables.write(utilisation, "utilisation", snakemake.output.utilisation, meta)
    log.info("%d windows, %d energies", len(windows), len(table))
