"""One file for each question; each prints a ratio of ours to a named floor, measured in turn in one run."""
