"""How long what is no longer needed is kept: the settings of ``[retention]``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict

from featurestore.errors import ConfigError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(seconds?|minutes?|hours?|days?|weeks?|[smhdw])\s*")


def _read(value: object) -> timedelta:
    if isinstance(value, timedelta):  # a default, or one that was read already
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError(f'{value!r} is no duration: write "90 days", "12 hours" or "30m"')
    return timedelta(**{_UNITS[found.group(2)[0]]: float(found.group(1))})


def duration(text: str, what: str) -> timedelta:
    """Return the duration that a text names, as the settings do: ``90d``, ``12 hours``.

    Args:
        text: the text.
        what: what it is of, for the message.

    Raises:
        ConfigError: it names none.
    """
    try:
        return _read(text)
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{what}: {error}.") from None


Duration = Annotated[timedelta, BeforeValidator(_read)]


class RetentionConfig(BaseModel):
    """``[retention]``: after how long ``featurestore gc`` removes things; None keeps them for ever.

    ``messages`` are those of the monitor's outbox, which its daemon removes as well.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    history: Duration | None = timedelta(days=30)  # files that a table had before: restore goes back so far
    quarantine: Duration | None = None
    profiles: Duration | None = None
    retired_versions: Duration | None = None  # rows of versions that are not live
    datasets: Duration | None = None
    log: Duration | None = None
    messages: Duration | None = timedelta(days=90)
