"""Rule search: searches on the published benchmark, their scores and the figure."""

import json
from pathlib import Path

from wattproof import report, rule, search, tables

with rule.logged(snakemake) as log:
    published = search.Published(Path(snakemake.input.benchmark))
    settings, missing = published.limit(search.Settings.of(snakemake.params.settings))
    for sentence in missing:
        log.warning("%s", sentence)
    found = search.demonstrate(published, settings, snakemake.threads)
    about = rule.meta(snakemake.params.campaign, published.simulated)
    tables.write(found.search, "search", snakemake.output.search, about)
    tables.write(found.front, "search_front", snakemake.output.front, about)
    summary = search.summarise(found.search, found.front, missing)
    folder = Path(snakemake.output.figures)
    infos = report.draw_search(
        found.search, found.front, summary, published.measured(), folder, published.simulated
    )
    written = {
        "simulated": published.simulated,
        "figures": {info.name: {"title": info.title, "caption": info.caption} for info in infos},
        **summary.as_dict(),
    }
    (folder / "summary.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    for sentence in summary.sentences:
        log.info("%s", sentence)
