"""A change that no feature shows by itself: two of 20 normal features begin to go together.

Every rule on single features is blind to it, ours too; the second opinion looks at samples of rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from featurestore import Field, types
from featurestore.profiles import Bins, fit_bins
from monitor.decisions import SecondOpinion, second_opinion

FEATURES = 20
#: Rows of the baseline's sample; of a window no more are sampled either.
SAMPLE = 2_000
THRESHOLD = 0.1


@dataclass(frozen=True, kw_only=True)
class Opinions:
    """What second opinions said of independent windows.

    Attributes:
        rows: of a window.
        correlation: of the two features; 0 is no change.
        windows: how many.
        sure: windows whose area lies surely over what no change gives.
        drifted: windows whose verdict is drift.
        named: windows in which the right pair is named first.
    """

    rows: int
    correlation: float
    windows: int
    sure: int
    drifted: int
    named: int


def opinions(rng: np.random.Generator, *, rows: int, correlation: float, windows: int) -> Opinions:
    """Return what second opinions say of windows with a correlation, each beside a baseline of its own."""
    names = [f"x{at}" for at in range(FEATURES)]
    fields = [Field(name=name, dtype=types.Float64) for name in names]

    def drawn(count: int, together: float) -> pa.Table:
        matrix = rng.standard_normal((count, FEATURES))
        matrix[:, 1] = together * matrix[:, 0] + np.sqrt(1 - together**2) * matrix[:, 1]
        return pa.table(dict(zip(names, matrix.T, strict=True)))

    asked = []
    for _ in range(windows):
        reference = drawn(SAMPLE, 0.0)
        asked.append(_asked(reference, drawn(min(rows, SAMPLE), correlation), fit_bins(reference, fields)))
    return Opinions(
        rows=rows,
        correlation=correlation,
        windows=windows,
        sure=sum(one.area.low > 0.5 for one in asked),
        drifted=sum(one.verdict in ("drift", "severe") for one in asked),
        named=sum(bool(one.associations) and one.associations[0].features == ("x0", "x1") for one in asked),
    )


def _asked(reference: pa.Table, current: pa.Table, bins: Bins) -> SecondOpinion:
    return second_opinion(reference, current, bins, effect_threshold=THRESHOLD)
