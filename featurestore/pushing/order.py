"""The place of pushed rows among rows with the same key, event time and created time.

The rule of the join is: the newest load, and then the later row of a load. A pushed row has no load until the offline
store has it, and then its load is newer than all that are there. So online it is provisionally of a load above every
real one: that of its segment, whose number grows with time, and its row number is its place in the segment. Once the
segment is published, the load's order takes the place of the provisional one. The row number stays: the published rows
of a segment are in the order of their places, and nothing else of a row number matters.
"""

from __future__ import annotations

from featurestore.online.base import placed

#: Above the order of every real load; the numbers of segments, microseconds since 1970, fit on top.
_PROVISIONAL = 1 << 62


def provisional(value: bytes, segment: int, place: int) -> bytes:
    """Return a stored value as that of a pushed row that is in no table yet."""
    return placed(value, _PROVISIONAL + segment, place)


def final(value: bytes, load_order: int, place: int) -> bytes:
    """Return a stored value as that of a pushed row whose load is published."""
    return placed(value, load_order, place)
