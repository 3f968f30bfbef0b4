"""A feature store's folder, opened: its settings, registry and stores."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from featurestore import config as configuration
from featurestore.config import Config
from featurestore.errors import ConfigError, closest
from featurestore.folders import check_folders
from featurestore.offline.store import OfflineStore
from featurestore.online import OnlineStore, open_online_store
from featurestore.online.local_copy import LocalCopy, local_copy_of
from featurestore.registry import Registry, acting_user, open_registry
from featurestore.settings.template import new_settings, project_name


class Opened:
    """A folder with ``featurestore.toml``, and what it configures.

    Args:
        path: the folder.
        replay: the name of a rehearsal whose online store, log and monitor are meant instead of the live ones.

    Raises:
        ConfigError: the folder has no ``featurestore.toml``, it is wrong, or there is no such rehearsal.
    """

    def __init__(self, path: str | os.PathLike[str] = ".", *, replay: str = "") -> None:
        config = configuration.load(path)
        self.config: Config = config.for_replay(replay) if replay else config
        check_folders(self.config)
        folder = self.config.path(self.config.serving.log_path).parent
        if replay and not folder.is_dir():
            # Stores make their folders: a slip of the pen would look like a rehearsal in which nothing happened.
            others = [one.name for one in folder.parent.glob("*")]
            raise ConfigError(
                f'There is no replay "{replay}": {folder} does not exist.',
                hint=closest(replay, others) or f"Hold one: featurestore serve --replay {replay}",
            )

    @classmethod
    def init(cls, path: str | os.PathLike[str], *, project: str = "") -> Self:
        """Make a feature store in a folder, which may exist, and open it.

        Raises:
            ConfigError: the folder has a ``featurestore.toml`` already, or cannot be written.
        """
        folder = Path(path)
        file = folder / configuration.FILE_NAME
        text = new_settings(project or project_name(folder))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with file.open("x", encoding="utf-8") as out:
                out.write(text)
        except FileExistsError:
            raise ConfigError(f"{file} exists already.", hint="Open it: FeatureStore(path).") from None
        except OSError as error:
            raise ConfigError(f"{file} cannot be written: {error}.") from error
        return cls(folder)

    @cached_property
    def registry(self) -> Registry:
        """The registry, opened when first used."""
        return open_registry(self.config.database_url(self.config.registry), self.config.project)

    def who(self) -> str:
        """Return who acts: the identity that is configured, once it is proved; else the system's user, as unverified.

        Raises:
            ConfigError: the identity's key cannot be read, or is none.
            RegistryError: the key is another's, or the identity is unknown or revoked.
        """
        return acting_user(self.config, self.registry)

    @cached_property
    def offline(self) -> OfflineStore:
        """The offline store."""
        return OfflineStore(self.config, self.registry)

    @cached_property
    def online(self) -> OnlineStore:
        """The online store, opened when first used."""
        return open_online_store(self.config.online_store(), self.config.root)

    @cached_property
    def local_copy(self) -> LocalCopy | None:
        """The copy that this machine's servers keep of the online store; None if they are to keep none."""
        return local_copy_of(self.config.online_store())

    def close(self) -> None:
        """Close what was opened."""
        for name in ("feedback", "local_copy", "online", "registry"):
            opened = self.__dict__.pop(name, None)
            if opened is not None:
                opened.close()
        self.__dict__.pop("offline", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
