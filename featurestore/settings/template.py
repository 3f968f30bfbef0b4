"""The settings that a new feature store begins with, and what its project may be called."""

from __future__ import annotations

import re
from pathlib import Path

from featurestore.errors import ConfigError
from featurestore.settings.faults import PLAIN_NAME_RULE

#: What names a project or a rehearsal: a folder, a namespace of the registry, and a line of TOML can all carry it.
PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


def project_name(folder: Path) -> str:
    """Return a name for the project of a folder: the folder's, without what a project's name cannot hold."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.absolute().name)
    return name.lstrip("_.-")[:64].rstrip("-") or "default"


def new_settings(project: str) -> str:
    """Return the text of the ``featurestore.toml`` of a new feature store.

    Args:
        project: its name.

    Raises:
        ConfigError: the project cannot have that name.
    """
    if not isinstance(project, str) or not PLAIN_NAME.fullmatch(project):
        raise ConfigError(f"{project!r} cannot name a project.", hint=PLAIN_NAME_RULE)
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
