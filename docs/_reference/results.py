"""What the methods of the store return, from the docstrings."""

from __future__ import annotations

from _reference.objects import pages_of

_GROUPS = {
    "Definitions": {
        "featurestore.registry": ("Plan", "Change", "Comparison", "Difference", "Registered", "Match"),
        "featurestore.lineage": ("Lineage", "Node", "Edge"),
        "featurestore.lineage.graph": ("Graph",),
    },
    "Rollout": {
        "featurestore.registry": ("Consent",),
        "featurestore.registry.records": ("Alias", "Promotion"),
        "featurestore.store.rollout": ("Transferred",),
    },
    "Loads and tables": {
        "featurestore.offline.intake.ingest": ("IngestReport",),
        "featurestore.registry": ("Load",),
        "featurestore.offline.intake.preview": ("BackfillReport", "Preview", "FeatureChange", "Example"),
        "featurestore.offline.intake.comparing": ("Counts",),
        "featurestore.offline.sources.intervals": ("Interval",),
        "featurestore.offline.tables.compacting": ("CompactReport",),
        "featurestore.offline.tables.restoring": ("RestoreReport",),
        "featurestore.store.tables": ("GcReport",),
        "featurestore.offline.tables.garbage": ("Garbage",),
    },
    "Online": {
        "featurestore.materialize": ("MaterializeReport", "Mode"),
        "featurestore.pushing.pusher": ("PushReport",),
        "featurestore.pushing.rows": ("RejectedRow",),
        "featurestore.pushing.flushing": ("FlushReport",),
        "featurestore.streaming": ("Fed", "Kept"),
        "featurestore.streaming.messages": ("Message", "Poisoned"),
    },
    "Training sets and models": {
        "featurestore.offline.join.historical": ("HistoricalFeatures",),
        "featurestore.offline.join.explanation": ("Explanation", "UseExplanation"),
        "featurestore.store.scoring": ("BatchFeatures",),
        "featurestore.offline.datasets.training_dataset": ("TrainingDataset",),
        "featurestore.offline.datasets.reproducing": ("Reproduction",),
        "featurestore.offline.datasets.diff": ("DatasetDiff", "RowsDiff", "ColumnDiff", "Difference"),
        "featurestore.registry": ("DatasetRecord", "ModelRecord", "ModelComparison", "Made", "Numbers"),
    },
    "Predictions and outcomes": {
        "featurestore.store.feedback": ("Logged",),
        "featurestore.serving.feedback.reading": ("predictions", "outcomes"),
    },
    "Audit and erasure": {
        "featurestore.registry": ("Head", "AuditReport", "Problem"),
        "featurestore.erasure": ("ErasureReport", "PlaceReport"),
    },
}


def results() -> str:
    """Return the page."""
    return pages_of(_GROUPS)
