"""Stage ingest: the logs of one set of an audit's manifest become tables."""


rule ingest:
    input:
        # The manifest itself is no input: what it says of this set is a parameter, so that a word
        # about one set does not read the others again.
        lambda wildcards: [
            str(path)
            for path in MANIFEST.files(wildcards.recording)
            if path != MANIFEST.path
        ],
    output:
        **{
            name: f"{RESULTS}/recordings/{{recording}}/{file}.parquet"
            for name, file in INGESTED.items()
        },
    log:
        f"{RESULTS}/logs/ingest/{{recording}}.log",
    benchmark:
        f"{RESULTS}/timings/ingest/{{recording}}.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
        mem_mb=2000,
    params:
        manifest=str(MANIFEST.path),
        campaign=CAMPAIGN,
        asked=lambda wildcards: repr(MANIFEST.sets[wildcards.recording]),
        origin=(MANIFEST.origin, MANIFEST.licence),
    script:
        "../scripts/ingest.py"
