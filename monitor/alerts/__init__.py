"""Incidents, the outbox, and one file per channel."""
