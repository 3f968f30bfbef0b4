"""What a rule of data quality found, as one plain value for all rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Verdict = Literal["ok", "not enough data", "drift", "severe"]
Rule = Literal[
    "constant_feature",
    "frozen_view",
    "volume_drop",
    "silent_service",
    "stale_features",
    "stopped_materialization",
    "stopped_ingestion",
    "stale_training_data",
    "schema_change",
    "type_change",
    "configuration_drift",
    "training_serving_skew",
    "materialization_lag",
]
Kind = Literal["feature", "view", "column", "service", "server", "writer", "model", "dataset"]

#: From what is told first to what is told last.
ORDER: tuple[Verdict, ...] = ("severe", "drift", "not enough data", "ok")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one rule says of one thing. It holds no keys and no values of features, so it may leave in a message.

    Attributes:
        rule: which.
        kind: what the subject is.
        subject: its name: ``temp``, ``weather``, ``churn@3``, a server's ``pid 4711 on host``, a load's
            ``weather/load-7``.
        verdict: ``severe`` where serving is broken.
        value: what was measured; None of facts that are no number.
        threshold: what it is compared with, in the same unit.
        unit: of both: ``rows``, ``seconds``, ``share``, ``windows``; empty of facts that are no number.
        log_evidence: of statistical rules, the natural logarithm of the evidence.
        log_limit: what it is compared with.
        onset: since when, as far as is known.
        sentence: what happened, where, and what to do.
        statistical: whether it can page falsely by chance; if so it keeps to its share of the budget.
        views: the stored views that are upstream of it.
    """

    rule: Rule
    kind: Kind
    subject: str
    verdict: Verdict
    value: float | None = None
    threshold: float | None = None
    unit: str = ""
    log_evidence: float | None = None
    log_limit: float | None = None
    onset: datetime | None = None
    sentence: str
    statistical: bool = False
    views: tuple[str, ...] = ()

    @property
    def pages(self) -> bool:
        """Whether anyone should be told."""
        return self.verdict in ("drift", "severe")
