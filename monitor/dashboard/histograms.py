"""All bins or categories of a feature: the baseline's rows beside those that the newest verdict is of.

Both are kept as profiles, so no row is read. Whoever calls sees to it that the feature is not tagged ``pii``: its cells
are values.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from featurestore import plots
from featurestore.errors import DataError
from featurestore.profiles import Bins, Profile
from monitor.alerts.drawing import shares_of
from monitor.alerts.lines import shortened
from monitor.alerts.message import Histogram
from monitor.alerts.plot import distinct

#: Bars that a picture has room for; the numbers below it are of all cells.
BARS = 30
_LABEL, _HEIGHT = 24, 220


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The rows of a feature in its cells.

    Attributes:
        reference: the baseline.
        name: what was judged: the feature, or a number that is taken from it.
        now: rows in each cell, shape (cells,).
        rows: how many there are.
        windows: of which they are.
    """

    reference: Profile
    name: str
    now: NDArray[np.int64]
    rows: int
    windows: int

    def histogram(self, *, most: int) -> Histogram:
        """Return the shares of the rows; with more cells than ``most`` those with the smallest shares are one."""
        bins = self.reference.bins.features[self.reference.bins.positions[self.name]]
        rows = (self.reference.rows, self.rows)
        return shares_of(bins, self.reference.cells(self.name), self.now, rows=rows, most=most)

    def to_json(self) -> dict[str, Any]:
        """Return all cells as JSON values."""
        all_ = self.histogram(most=len(self.now))
        return {
            "bins": [
                {"label": label, "baseline": before, "now": now}
                for label, before, now in zip(all_.labels, all_.baseline, all_.current, strict=True)
            ],
            "baseline_rows": self.reference.rows,
            "rows": self.rows,
            "windows": self.windows,
        }

    def drawn(self) -> plots.Chart:
        """Return bars side by side.

        Raises:
            ConfigError: what draws is not installed.
        """
        found = self.histogram(most=BARS)
        labels = distinct([shortened(one, _LABEL) for one in found.labels])
        series = {"baseline": found.baseline, "now": found.current}
        return plots.bars("", plots.Bars(labels=labels, series=series, y="share of rows"), height=_HEIGHT)


def compared(reference: Profile, profiles: Sequence[bytes], name: str) -> Compared | None:
    """Return a feature's rows in all windows together beside the baseline's; None where either side has none.

    Args:
        reference: the baseline.
        profiles: of the windows, as the ledger keeps them.
        name: what was judged.

    Raises:
        DataError: a window was profiled over other bins.
    """
    if name not in reference.bins.positions:
        return None
    counts = [_cells(one, reference.bins, name) for one in profiles]
    now: NDArray[np.int64] = np.array(counts, np.int64).sum(axis=0) if counts else np.zeros(0, np.int64)
    rows = int(now.sum())
    if not rows or not reference.rows:
        return None
    return Compared(reference=reference, name=name, now=now, rows=rows, windows=len(counts))


def _cells(profile: bytes, bins: Bins, name: str) -> NDArray[np.int64]:
    """Return the rows in each cell of one feature; no other one is unpacked, of which there may be a thousand."""
    place = bins.positions[name]
    table = pq.read_table(io.BytesIO(profile), columns=["feature", "counts"])
    found = table.slice(place, 1).to_pylist()
    if not found or found[0]["feature"] != name or len(found[0]["counts"]) != bins.features[place].cells:
        raise DataError("The profile was made over other bins.", hint="The next window is profiled over these.")
    return np.array(found[0]["counts"], np.int64)
