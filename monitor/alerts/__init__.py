"""Alerts, incidents, the outbox, and one file per channel."""
