"""Variation: does a feature that varied still vary, and do a view's rows still get newer?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from featurestore.profiles import Baseline, Profile, merge
from monitor.quality.finding import Finding, Verdict

#: Windows in which the newest event time stood still before a view can be frozen, and how many times the longest
#: standstill before it must be.
FROZEN_WINDOWS, FROZEN_TIMES = 3, 3


@dataclass(frozen=True, kw_only=True)
class Spread:
    """How a feature's values vary over one block of time.

    Attributes:
        start: of the block.
        rows: rows that have a value.
        constant: whether all of them have the same; None if that cannot be told.
        top_share: the share of the most frequent value, or more.
    """

    start: datetime
    rows: int
    constant: bool | None
    top_share: float


@dataclass(frozen=True, kw_only=True)
class FeatureSpread:
    """A feature's blocks.

    Attributes:
        feature: its name.
        views: the stored views that it comes from.
        baseline: blocks of the training data.
        recent: blocks of what was served since, ascending.
    """

    feature: str
    views: tuple[str, ...]
    baseline: tuple[Spread, ...]
    recent: tuple[Spread, ...]


def feature_spreads(
    baseline: Baseline,
    recent: Sequence[tuple[datetime, Profile]],
    *,
    window: timedelta,
    views: Mapping[str, tuple[str, ...]],
) -> tuple[FeatureSpread, ...]:
    """Return how each feature of a baseline varies, in blocks.

    Serving is taken in blocks as long as the baseline's, the newest one first, each with at least as many rows as the
    median of those: a day's hour is constant within an hour, and one row always is.

    Args:
        baseline: of the training data.
        recent: start and profile of the latest windows that have rows, ascending, over the baseline's bins.
        window: the length of a window.
        views: the stored views that each feature comes from.
    """
    blocks: list[tuple[datetime, Profile]] = []
    part: list[Profile] = []
    end: datetime | None = None
    least = median([one.rows for _, one in baseline.blocks]) if baseline.blocks else 0
    for start, profile in reversed(recent):
        end = end or start + window
        part.append(profile)
        if end - start >= baseline.block and sum(one.rows for one in part) >= max(2, least):
            blocks.append((start, merge(part)))
            part, end = [], None
    return tuple(
        FeatureSpread(
            feature=bins.name,
            views=views.get(bins.column, ()),
            baseline=tuple(_spread(start, one, bins.name) for start, one in baseline.blocks),
            recent=tuple(_spread(start, one, bins.name) for start, one in reversed(blocks)),
        )
        for bins in baseline.bins.features
    )


def _spread(start: datetime, profile: Profile, feature: str) -> Spread:
    place = profile.bins.positions[feature]
    bins, cells = profile.bins.features[place], profile.cells(feature)
    values = cells[: bins.values]
    rows = int(values.sum())
    top = int(values.max(initial=0))
    constant: bool | None
    if bins.kind == "numeric":
        # Infinities and NaN are values too, and are not among the extremes.
        finite, infinite, nan = int(profile.finite[place]), int(profile.infinite[place]), int(cells[-2])
        rows += nan
        one_finite = bool(profile.minimum[place] == profile.maximum[place]) and not infinite and not nan
        constant = (one_finite if finite else None if infinite else bool(nan)) if rows else None
    elif bins.kind == "categorical":
        # The two last cells hold any number of values.
        alone = top == rows
        constant = None if not rows or (alone and int(values.argmax()) >= len(bins.categories)) else alone
    else:
        constant = None
    return Spread(start=start, rows=rows, constant=constant, top_share=top / rows if rows else 0.0)


def constant_features(
    features: Sequence[FeatureSpread], *, block: timedelta, window: timedelta, average_run_length: float
) -> tuple[Finding, ...]:
    """Return a finding for each feature: has one that varied had only one value for too long?

    Two things bound how often chance alone makes so many blocks
    constant, and the weaker counts. Among D exchangeable blocks of which c were constant, the next is so with
    probability (c + 1)/(D + 1) at most, so k blocks are evidence of k ln((D + 1)/(c + 1)). And n rows have the same
    value with probability s^(n-1) at most, where s is the share of the most frequent one in the baseline. The limit is
    that of the run length in blocks, shared by all features (Bonferroni).

    Args:
        features: what is watched.
        block: the length of the baseline's blocks.
        window: the length of the windows that ``average_run_length`` counts.
        average_run_length: windows between two false alarms of this rule, over all features, on average, at least.
    """
    limit = math.log(max(1.0, average_run_length * (window / max(window, block))) * max(1, len(features)))
    return tuple(_constant(one, limit) for one in features)


def _constant(one: FeatureSpread, limit: float) -> Finding:
    known = [spread for spread in one.baseline if spread.rows > 1 and spread.constant is not None]
    varied = [spread for spread in known if not spread.constant]
    evidence, onset, rows = 0.0, None, 0
    run = _constant_run(one.recent)
    if run and varied:
        rows = sum(spread.rows for spread in run)
        blocks = len(run) * math.log((len(known) + 1) / (len(known) - len(varied) + 1))
        share = sum(spread.top_share * spread.rows for spread in known) / sum(spread.rows for spread in known)
        chance = (rows - 1) * -math.log(share) if share > 0 else math.inf
        evidence, onset = min(blocks, chance), run[0].start
    judged = bool(varied) and bool(one.recent) and one.recent[-1].constant is not None
    verdict: Verdict = "not enough data" if not judged else "drift" if evidence >= limit and run else "ok"
    if verdict == "drift" and onset is not None:
        said = (
            f'"{one.feature}" has had one value in all of {rows:,} rows since {onset.isoformat()}; in training it '
            f"varied in {len(varied):,} of {len(known):,} blocks. Look at {_sources(one.views)}."
        )
    elif judged:
        said = f'"{one.feature}" varies, or has not been constant for long enough to tell.'
    elif not varied:
        said = f'"{one.feature}" did not vary in training, or that cannot be told of its type.'
    else:
        said = f'"{one.feature}" has not been served for as long, and as often, as a block of its training data.'
    return Finding(
        rule="constant_feature",
        kind="feature",
        subject=one.feature,
        verdict=verdict,
        value=float(len(run)),
        unit="blocks",
        log_evidence=evidence if judged else None,
        log_limit=limit,
        onset=onset if verdict == "drift" else None,
        sentence=said,
        statistical=True,
        views=one.views,
    )


def _sources(views: Sequence[str]) -> str:
    return "the source of " + ", ".join(f'"{name}"' for name in views) if views else "what callers send"


def _constant_run(groups: Sequence[Spread]) -> list[Spread]:
    run: list[Spread] = []
    for group in reversed(groups):
        if not group.constant:
            break
        run.append(group)
    return run[::-1]


@dataclass(frozen=True, kw_only=True)
class ViewNewest:
    """The newest event time of a view's rows that were served, window by window.

    Attributes:
        view: the use's name.
        windows: start of each window with rows of the view, ascending, and the newest event time among them.
    """

    view: str
    windows: tuple[tuple[datetime, datetime], ...]


def frozen_view(one: ViewNewest) -> Finding:
    """Return whether the rows of a view have stopped to get newer.

    It has frozen when its newest event time has stood still for three windows, and for three times as many as ever
    before in these windows: a view whose rows change once a day stands still for 24 hourly windows.
    """
    standstills, now = _standstills([newest for _, newest in one.windows])
    longest = max(standstills, default=0)
    limit = max(FROZEN_WINDOWS, FROZEN_TIMES * longest)
    known = len(standstills) > 0 or len(one.windows) > FROZEN_WINDOWS
    moved = any(after > before for (_, before), (_, after) in zip(one.windows, one.windows[1:], strict=False))
    frozen = moved and now >= limit
    verdict: Verdict = "drift" if frozen else "ok" if known and moved else "not enough data"
    onset = one.windows[-now - 1][0] if one.windows and frozen else None
    if frozen:
        said = (
            f'The newest row of "{one.view}" that is served is of {one.windows[-1][1].isoformat()} for {now:,} '
            f"windows; it has never stood still for more than {longest:,}. Look whether its source, its loads and its "
            "materialization still run: featurestore status."
        )
    elif verdict == "ok":
        said = f'The rows of "{one.view}" get newer.'
    else:
        said = f'How often the rows of "{one.view}" get newer is not known yet.'
    return Finding(
        rule="frozen_view",
        kind="view",
        subject=one.view,
        verdict=verdict,
        value=float(now),
        threshold=float(limit),
        unit="windows",
        onset=onset,
        sentence=said,
        views=(one.view,),
    )


def _standstills(newest: Sequence[datetime]) -> tuple[list[int], int]:
    """Return for how many windows each value stood still before a newer one came, and for how many the last one has."""
    ended: list[int] = []
    now, top = 0, newest[0] if newest else None
    for one in newest[1:]:
        if top is not None and one > top:
            ended.append(now)
            now, top = 0, one
        else:
            now += 1
    return ended, now
