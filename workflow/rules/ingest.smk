"""Stage ingest: the logs of one set of an audit's manifest become tables."""


rule ingest:
    input:
        lambda wildcards: [str(path) for path in MANIFEST.files(wildcards.recording)],
    output:
        **{
            name: f"{RESULTS}/recordings/{{recording}}/{file}.parquet"
            for name, file in INGESTED.items()
        },
    log:
        f"{RESULTS}/logs/ingest/{{recording}}.log",
    benchmark:
        f"{RESULTS}/timings/ingest/{{recording}}.tsv"
    conda:
        "../../envs/workflow.yaml"
    resources:
        mem_mb=2000,
    params:
        manifest=str(MANIFEST.path),
        campaign=CAMPAIGN,
    script:
        "../scripts/ingest.py"
