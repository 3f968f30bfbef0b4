"""The registry's schema, step by step: Alembic's folder. ``database.py`` runs it when a registry is opened."""
