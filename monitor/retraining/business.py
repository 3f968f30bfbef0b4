"""Whether a number that the business counts has fallen since a model was new: revenue, conversion, complaints."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from featurestore.errors import MonitorError
from featurestore.registry.records import ModelRecord
from featurestore.store import FeatureStore
from monitor.performance.comparison import Margin, compare
from monitor.performance.reading import read_joined

#: How long a model is new, and how long a period of now is compared with that.
PERIOD = timedelta(days=14)
#: Of each interval; the numbers are looked at again and again, so the intervals hold however often that is.
_CONFIDENCE = 0.95
_DAY = 86_400_000_000


def fallen(store: FeatureStore, model: ModelRecord, metric: str, share: float, *, clock: datetime) -> str:
    """Return how a metric has surely fallen since the model was new, in a sentence; "" where that is not sure.

    The mean over the predictions of the last 14 days whose outcomes are known is compared with that of the model's
    first 14 days, by their days: predictions of one day are not independent. What both periods have nothing of says
    nothing.

    Args:
        store: whose predictions and outcomes.
        model: the model.
        metric: of its outcomes.
        share: by which part of its mean it may fall.
        clock: before which outcomes count.

    Raises:
        MonitorError: outcomes of the metric are labels.
        OfflineStoreError: a file cannot be read.
    """
    rows = read_joined(store, model.id, model.evaluation, now=clock, metric=metric).rows
    if rows.column("outcome_label").null_count < rows.num_rows:
        raise MonitorError(
            f'Outcomes of {model.name} with the metric "{metric}" are labels, which have no mean.',
            hint="Log numbers: 1.0 for what happened, 0.0 for what did not.",
        )
    rows = rows.filter(pc.is_valid(rows.column("outcome_number")))
    at = rows.column("predicted_at").cast(pa.int64()).to_numpy()
    values = rows.column("outcome_number").to_numpy()
    length = PERIOD // timedelta(microseconds=1)
    if not len(at) or at.max() - at.min() < 2 * length:
        return ""
    first, last = at < at.min() + length, at > at.max() - length
    found = compare(
        values[first],
        values[last],
        metric=metric,
        margin=Margin(amount=-share),
        blocks=(np.asarray(at[first] // _DAY), np.asarray(at[last] // _DAY)),
        confidence=_CONFIDENCE,
        always_valid=True,
    )
    if found.answer != "no":
        return ""
    change = found.difference
    return (
        f"{metric} has fallen by over {share:.1%} since {model.id} was new: mean {found.a.mean:.4g} in its first "
        f"{PERIOD.days} days, {found.b.mean:.4g} in the last; {change.value:.4g} [{change.low:.4g}, {change.high:.4g}]"
    )
