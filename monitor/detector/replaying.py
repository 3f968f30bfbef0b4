"""Windows of the past through the limits of a new baseline, so that a new baseline does not blind the monitor.

A weekly retraining gives a new baseline each week. If each began without evidence, a change that takes two weeks to
show would never be seen. So the windows that are newer than the new baseline's data are judged again by its limits.

What is stored of them are profiles, over the cells of the old baseline. Where rows are at hand, profile them again
over the new cells. Else a profile can be carried over if the cells are the same, which they are when the new baseline
was fitted with the old one's ``bins``; counts between other cuts cannot be known from those between the old ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from featurestore.errors import MonitorError
from featurestore.profiles import Bins, Profile
from featurestore.profiles.summary import ARRAYS
from monitor.detector.limits import Limits
from monitor.detector.state import DetectorState, Evidence
from monitor.detector.stepping import Budget, step


@dataclass(frozen=True)
class StoredWindow:
    """A window that was judged before.

    Attributes:
        start: its start.
        profile: of its rows, over the cells of some baseline.
        rows_per_block: rows that one block of the baseline's length brought in serving then.
    """

    start: datetime
    profile: Profile
    rows_per_block: float


def replay(
    limits: Limits,
    windows: Iterable[StoredWindow],
    *,
    average_run_length: Budget,
    state: DetectorState | None = None,
) -> tuple[DetectorState, list[Evidence]]:
    """Return the state after windows of the past, and the evidence after each of them.

    Args:
        limits: of the new baseline.
        windows: in the order of time; those that are newer than the baseline's data.
        average_run_length: as for :func:`step`.
        state: to begin with; a fresh one by default.

    Raises:
        MonitorError: windows are not in order, or a profile cannot be carried over to the baseline's cells.
    """
    state = DetectorState.start(limits) if state is None else state
    seen: list[Evidence] = []
    before: datetime | None = None
    for window in windows:
        if before is not None and window.start <= before:
            raise MonitorError(
                f"The window of {window.start.isoformat()} follows that of {before.isoformat()}.",
                hint="Replay windows in the order of time, each once.",
            )
        before = window.start
        state, evidence = step(
            limits,
            state,
            carried(window.profile, limits.bins),
            window_start=window.start,
            rows_per_block=window.rows_per_block,
            average_run_length=average_run_length,
        )
        seen.append(evidence)
    return state, seen


def carried(profile: Profile, bins: Bins) -> Profile:
    """Return the same counts over the bins of another baseline whose cells are the same.

    Fields may be in another order, and the old bins may have more of them.

    Raises:
        MonitorError: a field's cells are not the same.
    """
    if profile.bins is bins or profile.bins.id == bins.id:
        return profile
    known = {one.name: one for one in profile.bins.features}
    if other := [one.name for one in bins.features if known.get(one.name) != one]:
        raise MonitorError(
            f"Profiles over other cells cannot be judged by this baseline: {', '.join(map(repr, other))} differ.",
            hint="Profile the rows of the log again, or fit the baseline with the bins of the one before.",
        )
    order = [profile.bins.names.index(name) for name in bins.names]
    counts = [profile.cells(name) for name in bins.names]
    whole = np.concatenate([np.zeros(0, np.int64), *counts])
    arrays = {name: getattr(profile, name)[order] for name in ARRAYS}
    return replace(profile, bins=bins, counts=whole, **arrays)
