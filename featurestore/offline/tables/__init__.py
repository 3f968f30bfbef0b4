"""One Delta table for each storage id: its log, its files, and what becomes of them over time."""
