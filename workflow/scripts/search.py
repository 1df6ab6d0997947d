"""Rule search: searches on the published benchmark, their scores and the figure."""

import json
from pathlib import Path

from wattproof import report, rule, search, tables

with rule.logged(snakemake) as log:
    settings = search.Settings.of(snakemake.params.settings)
    published, settings, missing = search.Published(Path(snakemake.input.benchmark)).limit(settings)
    for sentence in missing:
        log.warning("%s", sentence)
    simulated = published.bench.simulated
    found = search.demonstrate(published, settings, snakemake.threads)
    about = rule.meta(snakemake.params.campaign, simulated)
    tables.write(found.search, "search", snakemake.output.search, about)
    tables.write(found.front, "search_front", snakemake.output.front, about)
    summary = search.summarise(found.search, found.front, missing)
    folder = Path(snakemake.output.figures)
    infos = report.draw_search(
        found.search, found.front, summary, published.bench.dataset, folder, simulated
    )
    written = {
        "simulated": simulated,
        "figures": {info.name: {"title": info.title, "caption": info.caption} for info in infos},
        **summary.as_dict(),
    }
    (folder / "summary.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    for sentence in summary.sentences:
        log.info("%s", sentence)
