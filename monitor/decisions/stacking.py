"""Features of one kind with equally many cells, side by side: what is computed of one is computed of all at once.

A storm is ten thousand features in one window. Each by itself costs some hundred calls for a few numbers; together they
are a few passes over arrays, and every figure is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featurestore.profiles import FeatureBins, Profile
from featurestore.profiles.bins import Kind

#: At most so many features are side by side: what they take is bounded, and stays near the processor.
MOST = 1_024


@dataclass(frozen=True, eq=False)
class Stack:
    """Some features of a baseline, with the rows in their cells.

    Attributes:
        kind: of all of them.
        features: their bins.
        places: where they are among all features, shape (features,).
        before: the baseline's rows, shape (features, cells): values, NaN for numbers, null.
        after: the current rows, in the same cells.
    """

    kind: Kind
    features: tuple[FeatureBins, ...]
    places: NDArray[np.int64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]

    @property
    def values(self) -> int:
        """The number of leading cells that hold values; see :attr:`FeatureBins.values`."""
        return self.features[0].values


def stacks_of(reference: Profile, current: Profile) -> Iterator[Stack]:
    """Yield all features of two profiles over the same bins, each in one stack."""
    bins = reference.bins
    alike: dict[tuple[Kind, int], list[int]] = {}
    for place, one in enumerate(bins.features):
        alike.setdefault((one.kind, one.cells), []).append(place)
    starts = np.cumsum(bins.widths) - bins.widths
    for (kind, cells), found in alike.items():
        for begin in range(0, len(found), MOST):
            places = np.array(found[begin : begin + MOST], np.int64)
            at = starts[places][:, None] + np.arange(cells)
            yield Stack(
                kind=kind,
                features=tuple(bins.features[place] for place in places.tolist()),
                places=places,
                before=reference.counts[at],
                after=current.counts[at],
            )
