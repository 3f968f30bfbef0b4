"""The online store: rows encoded as they are served, newest first by event time."""
