"""Stage recording: train the runs while every instrument samples; seal the raw streams."""


rule recording:
    input:
        # The digest in params decides when a recording is out of date, not the plan's time stamp:
        # adding runs to a campaign must not touch the recordings that are there.
        plan=ancient(f"{RESULTS}/tables/plan.parquet"),
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
    threads: lambda wildcards: PLAN[wildcards.recording].threads
    resources:
        # One recording at a time on a node: its meter, RAPL and host sources see the whole node.
        node=0 if campaign_config.is_offline(CONFIG) else 1,
        # What is made without waiting needs neither a node of its own nor a GPU.
        gpu=lambda wildcards: (
            0
            if campaign_config.is_offline(CONFIG)
            else PLAN[wildcards.recording].slots
        ),
        mem_mb=4000,
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
