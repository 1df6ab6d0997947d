"""External power meters: one file per instrument family."""
