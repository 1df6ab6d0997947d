"""Stage ingest: recordings that others made; included where the campaign names their folder."""


rule ingest:
    input:
        folder=CONFIG["ingest"]["mlperf_training"],
        # The folder's own time stamp does not change with the files further down.
        files=sorted(
            str(path)
            for path in Path(CONFIG["ingest"]["mlperf_training"]).rglob("*")
            if path.is_file()
        ),
    output:
        samples=f"{RESULTS}/ingest/mlperf_training/samples.parquet",
        channels=f"{RESULTS}/ingest/mlperf_training/channels.parquet",
        marks=f"{RESULTS}/ingest/mlperf_training/marks.parquet",
        runs=f"{RESULTS}/ingest/mlperf_training/runs.parquet",
        windows=f"{RESULTS}/ingest/mlperf_training/windows.parquet",
        exchanges=f"{RESULTS}/ingest/mlperf_training/exchanges.parquet",
        reported=f"{RESULTS}/ingest/mlperf_training/reported.parquet",
        findings=f"{RESULTS}/ingest/mlperf_training/findings.parquet",
        published=f"{RESULTS}/ingest/mlperf_training/published.parquet",
    log:
        f"{RESULTS}/logs/ingest/mlperf_training.log",
    benchmark:
        f"{RESULTS}/timings/ingest/mlperf_training.tsv"
    conda:
        "../../envs/workflow.yaml"
    resources:
        mem_mb=1000,
    params:
        campaign=CAMPAIGN,
    script:
        "../scripts/ingest.py"
