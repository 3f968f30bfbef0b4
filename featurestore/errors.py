"""Every error that this package raises on purpose.

The tree::

    FeatureStoreError
    ├── ConfigError                 featurestore.toml or the environment is wrong
    ├── DefinitionError             an entity, view or service cannot be what it says
    ├── RegistryError               the registry refuses
    │   ├── ObjectNotFoundError     no such view, service, dataset, version ...
    │   ├── BreakingChangeError     a change that would break users was not asked for
    │   ├── ObjectInUseError        something still refers to the object
    │   └── NotOwnerError           the object is another project's
    ├── DataError                   rows cannot be taken as they are
    │   ├── LoadRefusedError        a gate of the view refuses the load as a whole
    │   │   └── PushRefusedError    a row of a push is bad, and the view rejects the whole then
    │   ├── SchemaError             a column is missing, surplus, or of another type
    │   └── TimestampError          an instant has no zone, or is not an instant
    ├── OfflineStoreError           a table cannot be read or written
    │   └── TableConflictError      another writer changed the same files meanwhile
    ├── OnlineStoreError            the online store cannot be read or written
    │   └── OnlineStoreAwayError    its server does not answer (now)
    ├── ServingError                a lookup failed
    │   ├── InvalidRequestError     the request is wrong; sending it again will not help
    │   ├── LimitExceededError      too many rows, bytes or calls at once
    │   ├── UnauthenticatedError    the caller shows no token, or none that is valid
    │   ├── PermissionDeniedError   the caller's token does not reach so far
    │   ├── ServerUnavailableError  no server answers there (now)
    │   └── DeadlineExceededError   the server did not answer in time
    ├── AddressInUseError           the port is taken
    └── MonitorError                the monitor cannot do what it was asked
        ├── SignalStateError        a retraining signal cannot go there from where it is
        └── LeadershipLostError     another monitor has taken over from this one

Each carries a sentence that names the object, and a hint that says what to do; one about a definition also says in
which line of the user's files that was built. Nothing here knows of gRPC, SQL or any other library: an adapter maps its
library's errors to these at the seam.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from featurestore import places

__all__ = [
    "AddressInUseError",
    "BreakingChangeError",
    "ConfigError",
    "DataError",
    "DeadlineExceededError",
    "DefinitionError",
    "FeatureStoreError",
    "InvalidRequestError",
    "LeadershipLostError",
    "LimitExceededError",
    "LoadRefusedError",
    "MonitorError",
    "NotOwnerError",
    "ObjectInUseError",
    "ObjectNotFoundError",
    "OfflineStoreError",
    "OnlineStoreAwayError",
    "OnlineStoreError",
    "PermissionDeniedError",
    "PushRefusedError",
    "RegistryError",
    "SchemaError",
    "ServerUnavailableError",
    "ServingError",
    "SignalStateError",
    "TableConflictError",
    "TimestampError",
    "UnauthenticatedError",
    "about",
    "closest",
]


class FeatureStoreError(Exception):
    """The root: catch this to catch everything the package raises on purpose.

    Attributes:
        message: what happened, and to which object; one sentence.
        hint: what the reader can do about it; empty when there is nothing better than the message.
        where: the file and line where the object was defined, ``definitions.py:12``; empty if it is about no object of
            the user's files.
    """

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.where = where

    @property
    def sentence(self) -> str:
        """The message, with the place before it if there is one."""
        return f"{self.where}: {self.message}" if self.where else self.message

    def __str__(self) -> str:
        return f"{self.sentence}\nHint: {self.hint}" if self.hint else self.sentence


class ConfigError(FeatureStoreError):
    """``featurestore.toml`` or an environment variable is missing, unreadable or wrong."""


class DefinitionError(FeatureStoreError):
    """A definition contradicts itself or names something that does not exist.

    One that is refused when it is built finds the line that builds it by itself.
    """

    def __init__(self, message: str, *, hint: str = "", where: str = "") -> None:
        super().__init__(message, hint=hint, where=where or str(places.builder() or ""))


class RegistryError(FeatureStoreError):
    """The registry refuses a change or cannot be opened."""


class ObjectNotFoundError(RegistryError):
    """No object of that name and version is registered."""


class BreakingChangeError(RegistryError):
    """A field, type, entity or key that others rely on would go; it must be asked for."""


class ObjectInUseError(RegistryError):
    """Something still refers to the object; the message lists the users."""


class NotOwnerError(RegistryError):
    """The object belongs to another project, which alone may do this."""


class DataError(FeatureStoreError):
    """Rows cannot be taken as they are."""


class LoadRefusedError(DataError):
    """A gate of the view refuses a load as a whole; readers keep what was published before.

    Attributes:
        reasons: why, a sentence each.
    """

    def __init__(self, message: str, *, reasons: Iterable[str], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reasons = tuple(reasons)


class PushRefusedError(LoadRefusedError):
    """A row of a push is bad, and the view rejects the whole then; nothing of it is kept.

    Attributes:
        field: the column of the first bad row that is wrong.
        row: its place in the push, from 0.
    """

    def __init__(self, message: str, *, reasons: Iterable[str], field: str, row: int, hint: str = "") -> None:
        super().__init__(message, reasons=reasons, hint=hint)
        self.field = field
        self.row = row


class SchemaError(DataError):
    """A column is missing, surplus, or of a type that cannot be cast without loss."""


class TimestampError(DataError):
    """A timestamp names no zone, or is not a timestamp."""


class OfflineStoreError(FeatureStoreError):
    """An offline table cannot be read or written."""


class TableConflictError(OfflineStoreError):
    """Another writer changed the same files of a table meanwhile; doing it again may help."""


class OnlineStoreError(FeatureStoreError):
    """The online store cannot be read or written."""


class OnlineStoreAwayError(OnlineStoreError):
    """The server of the online store does not answer, or not yet; trying again may help."""


class ServingError(FeatureStoreError):
    """A lookup failed."""


class InvalidRequestError(ServingError):
    """The request is wrong: sending it again will not help.

    Attributes:
        field: what is wrong in it, as a path: ``columns[user_id]``; empty if it is the whole.
        row: the row there, from 0; None if it is about no row.
    """

    def __init__(self, message: str, *, hint: str = "", field: str = "", row: int | None = None) -> None:
        super().__init__(message, hint=hint)
        self.field = field
        self.row = row


class LimitExceededError(ServingError):
    """A request, or what is under way at once, is over a limit of the server.

    Attributes:
        limit: the setting that holds it: ``max_rows``.
    """

    def __init__(self, message: str, *, hint: str = "", limit: str = "") -> None:
        super().__init__(message, hint=hint)
        self.limit = limit


class UnauthenticatedError(ServingError):
    """The caller shows no token, or one that is unknown, revoked or expired. No token is ever part of it."""


class PermissionDeniedError(ServingError):
    """The caller's token is valid, and not for this method, feature service or view."""


class ServerUnavailableError(ServingError):
    """No server answers at the address, or it is draining; trying again may help."""


class DeadlineExceededError(ServingError):
    """The server did not answer within the caller's deadline."""


class AddressInUseError(FeatureStoreError):
    """Another process listens on the port."""


class MonitorError(FeatureStoreError):
    """The monitor cannot do what it was asked."""


class SignalStateError(MonitorError):
    """A retraining signal cannot go there from where it is: it was rejected, or is done."""


class LeadershipLostError(MonitorError):
    """Another monitor has taken over from this one, which may neither write nor send any more."""


@contextmanager
def about(definition: object) -> Iterator[None]:
    """Give errors that leave the block the place where the definition was built, unless they name one."""
    try:
        yield
    except FeatureStoreError as error:
        error.where = error.where or places.place_of(definition)
        raise


def closest(name: str, known: Iterable[str], *, most: int = 8) -> str:
    """Return a hint that names what the user may have meant, or what there is.

    Args:
        name: what was asked for.
        known: the names that there are.
        most: so many of them are told, and how many more there are.

    >>> closest("wether", ["weather", "planes"])
    'Did you mean "weather"?'
    >>> closest("x", ["weather", "planes"])
    'There is: planes, weather.'
    """
    names = sorted(set(known))
    match = difflib.get_close_matches(name, names, n=1)
    if match:
        return f'Did you mean "{match[0]}"?'
    if not names:
        return ""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"There is: {', '.join(names[:most])}{more}."
