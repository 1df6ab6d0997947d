"""Rule integrate: cut the windows and give each its energy by every channel."""

from wattproof import clocks, energy, quality, rule, tables, usage

with rule.logged(snakemake) as log:
    samples, channels, marks, runs, found = (
        tables.read_frame(snakemake.input[name], name)
        for name in ("samples", "channels", "marks", "runs", "clocks")
    )
    if snakemake.input.windows:
        windows = tables.read_frame(snakemake.input.windows, "windows")
    else:
        windows = energy.cut_windows(marks, runs)
    table = energy.integrate(samples, channels, found, windows, snakemake.params.settings)
    table = quality.flag_windows(table, channels)
    samples["t_ns"] = clocks.to_recording_time(samples, channels, found)
    utilisation = usage.utilisation_by_window(samples, channels, windows)
    meta = tables.read_meta(snakemake.input.samples)
    tables.write(windows, "windows", snakemake.output.windows, meta)
    tables.write(table, "energy", snakemake.output.energy, meta)
    tables.write(utilisation, "utilisation", snakemake.output.utilisation, meta)
    log.info("%d windows, %d energies", len(windows), len(table))
