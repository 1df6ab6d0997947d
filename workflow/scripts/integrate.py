"""Rule integrate: cut the windows and give each its energy by every channel."""

from wattproof import energy, quality, rule, tables, usage

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
    table = energy.integrate(samples, channels, found, windows, snakemake.params.settings)
    table = quality.flag_windows(table, channels)
    utilisation = usage.utilisation_by_window(samples, channels, windows, found)
    meta = tables.read_meta(snakemake.input.samples)
    tables.write(windows, "windows", snakemake.output.windows, meta)
    tables.write(table, "energy", snakemake.output.energy, meta)
    tables.write(utilisation, "utilisation", snakemake.output.utilisation, meta)
    log.info("%d windows, %d energies", len(windows), len(table))
