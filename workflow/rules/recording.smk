"""Stage recording: train the runs while every instrument samples; seal the raw streams."""

GRES = (
    {}
    if campaign_config.is_offline(CONFIG)
    else {
        "gres": lambda wildcards: cluster.gres(CONFIG, PLAN[wildcards.recording].slots)
    }
)


rule recording:
    # No input: the digest in params decides when a recording is out of date. Did it depend on the
    # plan's table, Snakemake would not look at the digest in a call that writes that table anew.
    output:
        samples=f"{RESULTS}/recordings/{{recording}}/samples.parquet",
        channels=f"{RESULTS}/recordings/{{recording}}/channels.parquet",
        health=f"{RESULTS}/recordings/{{recording}}/health.parquet",
        marks=f"{RESULTS}/recordings/{{recording}}/marks.parquet",
        runs=f"{RESULTS}/recordings/{{recording}}/runs.parquet",
    log:
        f"{RESULTS}/logs/recording/{{recording}}.log",
    benchmark:
        f"{RESULTS}/timings/recording/{{recording}}.tsv"
    conda:
        "../../envs/workflow.yaml"
    threads: lambda wildcards: cluster.cpus(CONFIG, PLAN[wildcards.recording].threads)
    resources:
        **cluster.recording(CONFIG),
        **GRES,
        # One recording at a time on this machine: its meter, RAPL and host sources see all of it.
        # What is made without waiting needs neither a machine of its own nor a GPU.
        whole_node=0 if campaign_config.is_offline(CONFIG) else 1,
    params:
        digest=lambda wildcards: PLAN[wildcards.recording].digest,
        # Raw streams are no declared outputs: Snakemake deletes those when a job fails.
        raw=lambda wildcards: f"{RESULTS}/raw/{wildcards.recording}",
        truth=lambda wildcards: f"{RESULTS}/truth/{wildcards.recording}",
        measurement={
            key: CONFIG[key]
            for key in ("campaign", "node", "sources", "on_missing_source")
        },
    script:
        "../scripts/recording.py"
