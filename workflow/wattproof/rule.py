"""What the scripts of all rules share: a log file, one sentence for a mistake, provenance."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

import wattproof
from wattproof import tables
from wattproof.errors import WattproofError


@contextlib.contextmanager
def logged(snakemake: Any) -> Iterator[logging.Logger]:
    """Run the body of a rule's script with its log file.

    A `WattproofError` ends the script with its one sentence on the terminal and in the log; any
    other exception is a defect of ours and keeps its traceback, in the log too.
    """
    # A job reads one channel after the other. Arrow's own pool keeps what each left in its threads:
    # integrating 10^8 samples peaked at anything from 1.5 to 2.1 GiB, with malloc at 1.3 to 1.4.
    pa.set_memory_pool(pa.system_memory_pool())
    logger = logging.getLogger(f"wattproof.rule.{snakemake.rule}")
    logger.setLevel(logging.INFO)
    handler = logging.FileHandler(snakemake.log[0], mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    try:
        yield logger
    except WattproofError as error:
        logger.error("%s", error)
        sys.stderr.write(f"wattproof: {snakemake.rule}: {error}\n")
        sys.exit(1)
    except Exception:
        logger.exception("unexpected failure")
        raise
    finally:
        handler.close()
        logger.removeHandler(handler)


def meta(campaign: str, simulated: bool, **more: Any) -> tables.Meta:
    """Provenance of a table that a rule makes from the configuration alone."""
    return tables.Meta(campaign, simulated, code_version=wattproof.__version__, **more)
