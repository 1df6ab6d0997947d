"""Rule assess: agreement of every source with the reference; usage of the GPU's power range."""

from wattproof import agreement, offsocket, rule, tables, usage

with rule.logged(snakemake):
    energy = tables.read_frame(snakemake.input.energy, "energy", where=tables.SCORED)
    channels, utilisation = (
        tables.read_frame(snakemake.input[name], name) for name in ("channels", "utilisation")
    )
    settings = snakemake.params.settings
    meta = tables.merge_meta(snakemake.input.energy)
    rows = agreement.assess(energy, offsocket.fit_sites(energy, snakemake.params.sites), settings)
    tables.write(rows, "agreement", snakemake.output.agreement, meta)
    rows = usage.assess(energy, channels, utilisation)
    tables.write(rows, "usage", snakemake.output.usage, meta)
