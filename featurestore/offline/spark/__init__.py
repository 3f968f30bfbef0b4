"""Apache Spark beside DuckDB: the same join, rows and profiles, computed where many executors are."""
