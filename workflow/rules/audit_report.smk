"""Stage audit_report: verdicts, findings with plots and remedies, traces to zoom into."""


rule audit_report:
    input:
        findings=f"{RESULTS}/tables/findings.parquet",
        agreement=recorded("agreement"),
        samples=recorded("samples"),
        channels=recorded("channels"),
        clocks=recorded("clocks"),
        windows=recorded("windows"),
        energy=recorded("energy"),
        reported=recorded("reported"),
        budgets=f"{RESULTS}/tables/budgets.parquet" if MANIFEST.benchmark else [],
        coverage=f"{RESULTS}/tables/coverage.parquet" if MANIFEST.benchmark else [],
    output:
        page=report(
            f"{RESULTS}/report.html",
            caption="../report/audit.rst",
            category="Report",
        ),
        traces=f"{RESULTS}/traces.html",
        scorecard=f"{RESULTS}/scorecard.json",
        figures=directory(f"{RESULTS}/figures"),
    log:
        f"{RESULTS}/logs/audit_report.log",
    benchmark:
        f"{RESULTS}/timings/audit_report.tsv"
    localrule: ANALYSIS_LOCAL
    conda:
        "../../envs/workflow.yaml"
    resources:
        **ANALYSIS_JOB,
    params:
        campaign=CONFIG,
        config_file=CONFIG_FILE,
        origin=MANIFEST.origin,
        licence=MANIFEST.licence,
    script:
        "../scripts/audit_report.py"
