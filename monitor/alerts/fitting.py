"""A payload -> the same, under a size: ten thousand features drift at once, and no receiver takes them all.

Pure. What is left out is counted in the payload; what a machine acts by (a training request, keys, commands) is never
cut.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

#: Bytes of a payload: under what every receiver takes (SQS and Pub/Sub 256 KiB, Kafka 1 MB, PagerDuty 512 KB), with
#: room for an envelope.
LARGEST = 200_000
#: Histograms that stay when not all can.
_DRAWN = 1
#: Names of features that stay of an alert of an incident.
_NAMED = 20
#: Shares of the room that is left that lists get at most, in turn: features have what the others do not use.
_SHARES = (("reasons", 0.2), ("members", 0.4), ("features", 1.0))
_MANY = 999_999_999
_LEFT_OUT = {"features": "featuresLeftOut", "members": "membersLeftOut"}


def size(value: Any) -> int:
    """Return the bytes of a value as JSON; every other way to write it in UTF-8 has at most as many."""
    return len(json.dumps(value))


def fitted(payload: Mapping[str, Any], limit: int = LARGEST) -> dict[str, Any]:
    """Return the payload, with as much of its lists as fits.

    Args:
        payload: of an alert, a retraining signal or an action.
        limit: bytes of its JSON form. What no list gives back, it may pass: then the receiver has to say so.
    """
    made = dict(payload)
    if size(made) <= limit:
        return made
    if "features" in made:
        made["features"] = _undrawn(made["features"])
    if "members" in made:
        made["members"] = [_unnamed(member) for member in made["members"]]
    if size(made) <= limit:
        return made
    lists = {name: made[name] for name, _ in _SHARES if made.get(name)}
    # The counts stand beside the lists.
    counts = {_LEFT_OUT[name]: _MANY for name in lists if name in _LEFT_OUT}
    room = max(limit - size(made | {name: [] for name in lists} | counts) - size(_more(_MANY)), 0)
    for name, share in _SHARES:
        if name not in lists:
            continue
        kept, used = _first(lists[name], int(room * share))
        room -= used
        left_out = len(lists[name]) - len(kept)
        if name in _LEFT_OUT:
            made[_LEFT_OUT[name]] = int(made.get(_LEFT_OUT[name], 0)) + left_out
        elif left_out:
            kept.append(_more(left_out))
        made[name] = kept
    return made


def _more(count: int) -> str:
    return f"and {count:,} more"


def _first(values: Sequence[Any], room: int) -> tuple[list[Any], int]:
    """Return the first values that have room, and the bytes that they take with what stands between them."""
    kept, used = [], 0
    for value in values:
        needed = size(value) + 2
        if used + needed > room:
            break
        kept.append(value)
        used += needed
    return kept, used


def _undrawn(features: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [
        {key: value for key, value in one.items() if key != "histogram" or place < _DRAWN}
        for place, one in enumerate(features)
    ]


def _unnamed(member: Mapping[str, Any]) -> dict[str, Any]:
    names = member.get("features", ())
    if len(names) <= _NAMED:
        return dict(member)
    left_out = int(member.get("featuresLeftOut", 0)) + len(names) - _NAMED
    return {**member, "features": list(names[:_NAMED]), "featuresLeftOut": left_out}
