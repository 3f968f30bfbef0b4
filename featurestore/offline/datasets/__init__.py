"""Training datasets: made, proved, compared, made again."""
