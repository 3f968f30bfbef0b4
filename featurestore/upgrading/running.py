"""An upgrade, from the lock to the last look: once, by one process, and gone on with where it was interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from featurestore import config as configuration
from featurestore.config import Config
from featurestore.errors import ConfigError
from featurestore.upgrading.lock import alone
from featurestore.upgrading.steps import own_steps
from featurestore.upgrading.stored import State, Step, Stored, all_steps


def look(path: str | os.PathLike[str], *, steps: Sequence[Step] | None = None) -> list[Stored]:
    """Return what every store of a configuration is like. Nothing is changed.

    Args:
        path: the folder with ``featurestore.toml``, or another such file.
        steps: the stores; all that are known when not given.

    Raises:
        ConfigError: there is no configuration, or it is wrong.
    """
    config = configuration.load(path)
    return [one.looked_at(config) for one in _steps(steps)]


def upgrade(
    path: str | os.PathLike[str],
    *,
    told: Callable[[Stored, Stored], None] = lambda _before, _after: None,
    steps: Sequence[Step] | None = None,
) -> list[Stored]:
    """Bring every store that is behind to this release's format, and return what all are like then.

    Each is changed in one transaction, in the order of the steps, so that one that is killed leaves some done and the
    others as they were, and the next goes on. Where a store is at fault nothing is begun.

    Args:
        path: the folder with ``featurestore.toml``, or another such file.
        told: hears of each store that was changed, as it was and as it is.
        steps: the stores; all that are known when not given.

    Raises:
        ConfigError: there is no configuration, it is wrong, or another upgrade is at work.
        FeatureStoreError: a store cannot be changed; those before it are.
    """
    config = configuration.load(path)
    wanted = _steps(steps)
    with alone(config):
        found = [one.looked_at(config) for one in wanted]
        if any(one.state is State.fault for one in found):
            return found
        return list(_upgraded(config, wanted, told))


def _upgraded(config: Config, steps: Sequence[Step], told: Callable[[Stored, Stored], None]) -> Iterator[Stored]:
    for one in steps:
        before = after = one.looked_at(config)
        if before.state is State.behind and one.upgrade is not None:
            one.upgrade(config)
            after = one.looked_at(config)
            told(before, after)
            if after.state is State.behind:
                raise ConfigError(
                    f"The {one.store} is as it was: {after.what}.", hint="This is a fault of featurestore."
                )
        yield after


def _steps(steps: Sequence[Step] | None) -> Sequence[Step]:
    return all_steps(own_steps()) if steps is None else steps
