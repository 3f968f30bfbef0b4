"""One upgrade at a time: of a folder by a lock on a file, and of a registry on a server by a lock of that server.

The system lets go of both when their process ends, however it does.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from featurestore.config import Config
from featurestore.database import Database
from featurestore.errors import ConfigError, RegistryError

_FILE = "data/upgrade.lock"
_ADVISORY_LOCK = 7_305_217_442


@contextmanager
def alone(config: Config) -> Iterator[None]:
    """Let no other process upgrade what a configuration names while the block runs.

    Raises:
        ConfigError: one does, or the file of the lock cannot be made.
        RegistryError: the registry's server cannot be reached.
    """
    with ExitStack() as held:
        file = config.path(_FILE)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise ConfigError(
                f"The lock {file} cannot be made: {error.strerror}.", hint="Let this user write to its folder."
            ) from error
        held.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _busy() from None
        url = config.database_url(config.registry)
        if url.startswith("postgresql"):
            held.enter_context(_on_server(url))
        yield


@contextmanager
def _on_server(url: str) -> Iterator[None]:
    with (
        closing(
            Database(url, what="registry", error=RegistryError, hint="Check registry in featurestore.toml.")
        ) as one,
        one.read() as connection,
    ):
        found = connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({_ADVISORY_LOCK})").scalar_one()
        if not found:
            raise _busy()
        yield


def _busy() -> ConfigError:
    return ConfigError(
        "Another process upgrades these stores now.",
        hint="Wait for it; featurestore upgrade --check says how far it is.",
    )
