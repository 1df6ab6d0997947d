"""Rule calibrate: node energy from cheap channels, with held-out errors."""

from pathlib import Path

from wattproof import calibration, offsocket, rule, tables

with rule.logged(snakemake):
    energy = tables.read_frame(snakemake.input.energy, "energy", where=tables.SCORED)
    channels = tables.read_frame(snakemake.input.channels, "channels")
    meta = tables.merge_meta(snakemake.input.energy)
    elsewhere = None
    if snakemake.input.elsewhere:
        kept = calibration.transfer.load(snakemake.input.elsewhere)
        calibration.transfer.check_same_type(kept, channels, meta)
        elsewhere = calibration.transfer.as_estimator(kept)
    # Code Carbon's memory rules ask for the node's memory: it is in the recordings' provenance.
    site_of, settings = snakemake.params.sites, {}
    for path in snakemake.input.energy:
        site = site_of.get(Path(path).parent.name, "")
        if site not in settings:
            node = tables.read_meta(path).extra
            memory = {"memory_gib": node.get("memory_gib")}
            settings[site] = snakemake.params.settings | memory
    if site_of:
        nodes = offsocket.fit_sites(energy, site_of)
        found = calibration.calibrate_sites(energy, channels, nodes, settings, elsewhere)
    else:
        own = offsocket.fit(energy)
        found = calibration.calibrate(energy, channels, own, settings[""], elsewhere)
    tables.write(found.table, "calibration", snakemake.output.calibration, meta)
    tables.write(found.estimates, "estimates", snakemake.output.estimates, meta)
    tables.write(found.agreement, "agreement", snakemake.output.agreement, meta)
