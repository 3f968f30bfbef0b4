"""What a server counts and measures: kept by each worker in lists, added up by their parent, shown to Prometheus."""
