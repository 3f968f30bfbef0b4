"""Tables, ingest, the point-in-time join and training datasets. All SQL over rows lives here."""
