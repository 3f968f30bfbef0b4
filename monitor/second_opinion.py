"""All features together, when somebody wants to know: a sample of what was served beside one of training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
import pyarrow as pa

from featurestore.errors import MonitorError
from featurestore.profiles import merge_samples, sample_rows
from featurestore.store import FeatureStore
from monitor.baselines import find_reference
from monitor.decisions import SecondOpinion, second_opinion
from monitor.detector import fit_limits
from monitor.windows import ServingLog

#: Of a probability; it moves no figure here that is used.
_SMALLEST_CHANGE = 0.02
#: Names the rows of a dataset, by where they stand.
_PLACE = "place"


def ask(
    store: FeatureStore,
    service: str,
    *,
    rows: int = 2000,
    since: datetime | None = None,
    until: datetime | None = None,
    effect_threshold: float = 0.1,
) -> SecondOpinion:
    """Compare samples of a service version's log and of its training data as a whole, not feature by feature.

    The same rows are drawn each time. Nothing of them is kept.

    Args:
        store: the store.
        service: a version, ``flight_delay@1``; a bare name is resolved as in serving.
        rows: at most so many of each side.
        since: only rows that were served at this instant or later.
        until: only rows that were served before it.
        effect_threshold: the share of rows that must be elsewhere before the verdict is drift.

    Raises:
        ObjectNotFoundError: there is no such service.
        MonitorError: there is no training dataset, or nothing was served then.
    """
    registered = store.registry.resolve_service(service)
    reference = find_reference(store.config, store.registry, registered.id)
    if reference is None:
        raise MonitorError(
            f"{registered.id} has no training dataset to compare with.",
            hint="Make one: store.create_training_dataset(...).",
        )
    with ServingLog(store.config).stream(registered.id) as log:
        served = log.sample(rows, since=since, until=until)
    if not served.num_rows:
        raise MonitorError(
            f"The serving log has no row of {registered.id} from that time.",
            hint="Choose another time, or ask a server first.",
        )
    baseline = reference.baseline
    dataset = store.get_training_dataset(reference.dataset)
    limits = fit_limits(baseline, smallest_change=_SMALLEST_CHANGE)
    trained = _sample(dataset.to_batches(), rows, baseline.bins.columns)
    days = np.unique(served.column("served_at").cast(pa.int64()).to_numpy() // (baseline.block.total_seconds() * 1e6))
    return second_opinion(
        trained,
        served,
        baseline.bins,
        effect_threshold=effect_threshold,
        rho=max((one.rho for one in limits.features.values()), default=0.0),
        reference_blocks=len(baseline.blocks),
        current_blocks=len(days),
    )


def _sample(batches: Iterable[pa.RecordBatch], rows: int, columns: Sequence[str]) -> pa.Table:
    """Return some of the rows of a stream, by hash of where they stand in it."""
    samples, begin = [], 0
    for batch in batches:
        places = pa.array(range(begin, begin + batch.num_rows))
        samples.append(sample_rows(batch.append_column(_PLACE, places), columns, names=[_PLACE], capacity=rows))
        begin += batch.num_rows
    return merge_samples(samples).table
