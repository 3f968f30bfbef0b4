"""What a new version of a view may take over from the rows of an older one."""

from __future__ import annotations

from dataclasses import dataclass

from featurestore.definitions.sources import PushSource, Source
from featurestore.definitions.views import FeatureView


@dataclass(frozen=True, kw_only=True)
class Heritage:
    """Which fields of a new version keep their history.

    Attributes:
        kept: fields that mean the same in both versions; their values are carried over.
        added: the other fields of the new version; in carried rows they are null, so a default shows where they have
            one.
        obstacle: why nothing is carried over, as the end of a sentence; empty if rows are.
    """

    kept: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    obstacle: str = ""


def heritage(old: FeatureView, new: FeatureView) -> Heritage:
    """Return what the rows of ``old`` are worth for ``new``.

    A field keeps its history if it has the same name and type and both versions read the same source; what arrives by
    ``push`` or ``ingest`` means what its column says, whatever the push source is called.
    """
    if dict(old.keys) != dict(new.keys):
        return Heritage(obstacle="its join keys changed")
    if _origin(old.source) != _origin(new.source):
        return Heritage(obstacle="its source changed, so its fields may mean something else")
    before = {one.name: one.dtype for one in old.schema}
    kept = tuple(one.name for one in new.schema if before.get(one.name) == one.dtype)
    added = tuple(one.name for one in new.schema if one.name not in kept)
    if not kept:
        return Heritage(obstacle="no field has kept its name and type")
    for one in new.schema:
        if one.name in added and one.not_null and one.default is None:
            return Heritage(obstacle=f'older rows have no value of "{one.name}", which may not be null')
    return Heritage(kept=kept, added=added)


def _origin(source: Source | None) -> object:
    if source is None or isinstance(source, PushSource):
        return None
    return source.spec()
