"""Rule calibrate: node energy from cheap channels, with held-out errors."""

from wattproof import calibration, offsocket, rule, tables

with rule.logged(snakemake):
    energy = tables.read_frame(snakemake.input.energy, "energy")
    channels = tables.read_frame(snakemake.input.channels, "channels")
    # Code Carbon's memory rules ask for the node's memory: it is in the recordings' provenance.
    node = tables.read_meta(snakemake.input.energy[0]).extra
    settings = snakemake.params.settings | {"memory_gib": node.get("memory_gib")}
    meta = tables.merge_meta(snakemake.input.energy)
    elsewhere = None
    if snakemake.input.elsewhere:
        kept = calibration.transfer.load(snakemake.input.elsewhere)
        calibration.transfer.check_same_type(kept, channels, meta)
        elsewhere = calibration.transfer.as_estimator(kept)
    found = calibration.calibrate(energy, channels, offsocket.fit(energy), settings, elsewhere)
    tables.write(found.table, "calibration", snakemake.output.calibration, meta)
    tables.write(found.estimates, "estimates", snakemake.output.estimates, meta)
    tables.write(found.agreement, "agreement", snakemake.output.agreement, meta)
