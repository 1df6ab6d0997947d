"""Rule inspect: the findings of one recording."""

from wattproof import quality, rule, tables

with rule.logged(snakemake) as log:
    samples = tables.SampleStore.open(snakemake.input.samples)
    channels, marks, found, windows = (
        tables.read_frame(snakemake.input[name], name)
        for name in ("channels", "marks", "clocks", "windows")
    )
    health = None
    if snakemake.input.health:
        health = tables.read_frame(snakemake.input.health, "health")
    rows = quality.inspect(samples, channels, marks, found, windows, health)
    tables.write(rows, "findings", snakemake.output[0], tables.read_meta(snakemake.input.samples))
    for flag, evidence in zip(rows["flag"], rows["evidence"], strict=True):
        log.warning("%s: %s", flag, evidence)
