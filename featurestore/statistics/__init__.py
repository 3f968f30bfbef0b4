"""One idea a file: a number and its interval from two profiles. No thresholds."""
