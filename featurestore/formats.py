"""Stored formats of other releases: how their number is read, and what is said of one that is too new.

Every store says by a number how it is laid out (docs/upgrading.md lists them). A number grows when a release before
could not read what is written, and never for what it may pass over. Where a newer release wrote a store, it has also
written which release that is: an error here can then name it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from featurestore import __version__
from featurestore.errors import FeatureStoreError

_Error = TypeVar("_Error", bound=FeatureStoreError)


def newer(
    what: str, found: object, known: object, *, error: type[_Error], release: object = "", otherwise: str = ""
) -> _Error:
    """Return what is to be raised where a store is of a newer format.

    Args:
        what: the store: ``The online store``.
        found: its format.
        known: the newest that this release reads.
        error: the class of the error.
        release: the release that the store names; "" where it names none.
        otherwise: what else can be done, as a sentence.
    """
    whose = f"release {release}" if release else "a newer release"
    return error(
        f"{what} has format {found}, of {whose}; this one, {__version__}, reads up to {known}.",
        hint=f"{upgrade_to(release)} {otherwise}".rstrip(),
    )


def upgrade_to(release: object = "") -> str:
    """Return what to do where a store is of a newer format."""
    return f"Upgrade the featurestore package here{f' to {release}, or a later one' if release else ''}."


def check(
    values: Mapping[str, Any], what: str, known: int, *, error: type[FeatureStoreError], otherwise: str = ""
) -> None:
    """Check the format of a record, of which JSON values are read, against the newest that is known.

    Args:
        values: the record; ``format`` is its number, and ``release`` who wrote it, if it says so.
        what: the store, for the message.
        known: the newest format.
        error: the class of the error.
        otherwise: what else can be done, as a sentence.

    Raises:
        FeatureStoreError: of that class: it is newer.
    """
    if int(values["format"]) > known:
        release = values.get("release", "")
        raise newer(what, values["format"], known, error=error, release=release, otherwise=otherwise)
