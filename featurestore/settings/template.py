"""The settings that a new feature store begins with."""

from __future__ import annotations


def new_settings(project: str) -> str:
    """Return the text of the ``featurestore.toml`` of a new feature store.

    Args:
        project: a name that needs no escape in TOML.
    """
    return f'''# Settings of this feature store. Paths are relative to this file; ${{NAME}} is an environment variable.
project = "{project}"
definitions = ["definitions.py"]

registry = "sqlite:///data/registry.db"
online = "lmdb://data/online"

[offline]
path = "data/offline"

[serving]
host = "127.0.0.1"
port = 6566
log_path = "data/log"

[monitor]
database = "sqlite:///data/monitor.db"

# [sources.flights]            # put a named source elsewhere in this environment
# path = "/mnt/flights/*.parquet"

# [connections.warehouse]      # a database that a QuerySource reads
# driver = "postgresql"
# uri = "${{WAREHOUSE_URL}}"     # or "file:PATH"

# [channels.ops]               # where alerts go; a MonitorPolicy names it in `routes`
# kind = "webhook"
# url = "https://ops.example.com/hooks/features"
# secret = "${{OPS_WEBHOOK_SECRET}}"   # or "file:PATH"
'''
