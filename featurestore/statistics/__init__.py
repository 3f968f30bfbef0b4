"""One idea a file: a number and its interval from the counts of two profiles. No thresholds."""
