"""Streams in which nothing changes, drawn as counts: a window of a million rows costs what one of a hundred does.

Each numeric feature is a mean that moves as the stream says, plus independent noise of deviation 1; what is drawn of a
window is how many rows fall between the cuts (a multinomial), not the rows. Each categorical feature is such a number
cut into eight categories of equal share. One row in a hundred is null.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from featurestore import types
from featurestore.profiles import Baseline, Bins, FeatureBins, Profile, baseline_of_profiles
from featurestore.profiles.bins import EVENT_CUTS, REFINEMENT

START = datetime(2024, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NUMERIC, CATEGORICAL, CATEGORIES = 160, 40, 8
FEATURES = NUMERIC + CATEGORICAL
NULLS = 0.01
#: Rows of a window up to which they are drawn one by one.
FEW = 300
#: Rows of an hour of the baseline, and days of it.
ROWS, DAYS = 100, 90

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stream:
    """How the means of the features move over the hours.

    Attributes:
        name: what tables call it.
        wander: deviation of a mean that is .5 times that of the hour before, plus noise.
        day_effect: deviation of what all rows of a day share.
        rhythm: size of a daily wave, and of what the weekend adds.
        multiple: rows of an hour of serving, in those of the baseline.
    """

    name: str
    wander: float = 0.0
    day_effect: float = 0.0
    rhythm: float = 0.0
    multiple: int = 1

    def means(self, rng: np.random.Generator, first: int, hours: int) -> Floats:
        """Return the mean of each feature in each hour, shape (hours, features); ``first`` is a number of hours."""
        clock = first + np.arange(hours)
        means = np.zeros((hours, FEATURES))
        if self.rhythm:
            phase = np.linspace(0, 2 * np.pi, FEATURES, endpoint=False)
            weekend = np.where(clock % 168 >= 120, 0.5, 0.0)
            means += self.rhythm * (np.sin(2 * np.pi * clock[:, None] / 24 + phase) + weekend[:, None])
        if self.day_effect:
            days = clock // 24 - first // 24
            means += rng.normal(0, self.day_effect, (int(days[-1]) + 1, FEATURES))[days]
        if self.wander:
            noise = rng.normal(0, self.wander * np.sqrt(0.75), (hours, FEATURES))
            noise[0] /= np.sqrt(0.75)
            for hour in range(1, hours):
                noise[hour] += 0.5 * noise[hour - 1]
            means += noise
        return means

    @property
    def spread(self) -> float:
        """The deviation of all rows together."""
        return float(np.sqrt(1 + self.wander**2 + self.day_effect**2 + self.rhythm**2 * 0.55))


STREAMS = (
    Stream("independent rows"),
    Stream("AR(1), phi .5, sd .3", wander=0.3),
    Stream("daily and weekly rhythm", rhythm=0.5),
    Stream("day effect .3, serving 1x", day_effect=0.3),
    Stream("day effect .3, serving 10x", day_effect=0.3, multiple=10),
    Stream("day effect .3, serving 100x", day_effect=0.3, multiple=100),
)


def bins_of(stream: Stream) -> Bins:
    """Return cells as :func:`~featurestore.profiles.fit_bins` would cut them from very many rows."""
    cells = (EVENT_CUTS + 1) * REFINEMENT
    inner = ndtri(np.arange(1, cells) / cells)
    end = float(-ndtri(1 / (DAYS * 24 * ROWS)))
    cuts = stream.spread * np.concatenate([[-end], inner, [end]])
    events = (0, *range(REFINEMENT, cells, REFINEMENT), cells)
    numeric = [
        FeatureBins(f"number_{at}", types.Float64, cuts=tuple(cuts.tolist()), events=events) for at in range(NUMERIC)
    ]
    texts = tuple("abcdefgh"[:CATEGORIES])
    categorical = [FeatureBins(f"category_{at}", types.String, categories=texts) for at in range(CATEGORICAL)]
    return Bins((*numeric, *categorical))


def values_of(bins: Bins) -> Floats:
    """Return the number that each cell of a numeric feature stands for, shape (cells,)."""
    cuts = np.asarray(bins.features[0].cuts)
    middle = (cuts[1:] + cuts[:-1]) / 2
    return np.concatenate([[2 * cuts[0] - middle[0]], middle, [2 * cuts[-1] - middle[-1]]])


def draw(stream: Stream, bins: Bins, rng: np.random.Generator, means: Floats, rows: int) -> Iterator[NDArray[np.int64]]:
    """Yield the counts of each hour (or row of ``means``), end to end over features, as :attr:`Profile.counts`."""
    cuts = np.asarray(bins.features[0].cuts)
    category_cuts = stream.spread * ndtri(np.arange(1, CATEGORIES) / CATEGORIES)
    counted = _by_row if rows <= FEW else _by_cell
    for hour in means:
        numeric = counted(rng, cuts, hour[:NUMERIC], rows, 1)  # NaN
        categorical = counted(rng, category_cuts, hour[NUMERIC:], rows, 2)  # other values, unseen values
        yield np.concatenate([numeric.ravel(), categorical.ravel()])


def _by_row(rng: np.random.Generator, cuts: Floats, means: Floats, rows: int, empty: int) -> NDArray[np.int64]:
    """Return counts of rows that are drawn one by one: the quicker way when they are fewer than the cells."""
    cells = len(cuts) + 2 + empty
    found = np.searchsorted(cuts, means[:, None] + rng.standard_normal((len(means), rows)))
    found[rng.random(found.shape) < NULLS] = cells - 1
    flat = found + cells * np.arange(len(means))[:, None]
    return np.bincount(flat.ravel(), minlength=cells * len(means)).reshape(len(means), cells)


def _by_cell(rng: np.random.Generator, cuts: Floats, means: Floats, rows: int, empty: int) -> NDArray[np.int64]:
    """Return counts that are drawn as such."""
    chances = _chances(cuts, means) * (1 - NULLS)
    others = np.zeros((len(means), empty)), np.full((len(means), 1), NULLS)
    return rng.multinomial(rows, np.hstack([chances, *others]))


def _chances(cuts: Floats, means: Floats) -> Floats:
    upto = ndtr(cuts - means[:, None])
    return np.diff(upto, axis=1, prepend=0.0, append=1.0)


def profile_of(bins: Bins, counts: NDArray[np.int64], rows: int) -> Profile:
    """Return counts as a profile; nothing here looks at moments."""
    width = len(bins.features)
    none, zeros = np.zeros(width, np.int64), np.zeros(width)
    return Profile(bins, rows, counts, none, none, none, none, zeros, zeros, zeros, zeros, zeros)


def baseline_of(stream: Stream, bins: Bins, rng: np.random.Generator) -> tuple[Baseline, NDArray[np.int64]]:
    """Return a baseline, and the counts of ten hours like its own, shape (10, all cells)."""
    means = stream.means(rng, 0, DAYS * 24)
    chosen = np.arange(10) * (len(means) // 10 + 1)
    chunks = np.array(list(draw(stream, bins, rng, means[chosen], ROWS)))
    hourly = bool(stream.rhythm or stream.wander)
    # Where an hour is like the others of its day, a day is drawn at once.
    step, rows = (1, ROWS) if hourly else (24, 24 * ROWS)
    parts = [
        (START + at * step * HOUR, profile_of(bins, counts, rows))
        for at, counts in enumerate(draw(stream, bins, rng, means[::step], rows))
    ]
    return baseline_of_profiles(parts, block=DAY), chunks
