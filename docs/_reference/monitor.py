"""The monitor as a library: what its packages offer, from the docstrings."""

from __future__ import annotations

from importlib import import_module

from _reference.objects import pages_of

#: Packages all of which is for users, by heading.
_WHOLE = {
    "A run": "monitor.pipeline",
    "Decisions": "monitor.decisions",
    "Backtests": "monitor.backtest",
    "Served values against the join": "monitor.parity",
    "Data quality": "monitor.quality",
    "Reports": "monitor.report",
}
#: What is for users of others.
_SOME = {
    "A run": {"monitor.status": ("status",), "monitor.history": ("History",)},
    "Decisions": {"monitor.detector": ("Evidence", "Moved")},
    "Data quality": {
        "monitor.quality.reading": ("read_quality_facts", "read_served"),
        "monitor.quality.freshness": ("ServedAges", "ViewLedger", "TrainingData"),
        "monitor.quality.columns": ("Columns", "FoundColumn"),
        "monitor.quality.configuration": ("Configuration", "ServerFacts", "WriterFacts", "ModelFacts"),
        "monitor.quality.variation": ("FeatureSpread", "Spread"),
    },
    "Performance": {
        "monitor.performance.reading": (
            "read_performance",
            "PerformanceReport",
            "record_reference",
            "reference_of",
            "models_of",
            "feedback_watermark",
        ),
        "monitor.performance.judging": (
            "PerformanceRules",
            "judge",
            "PerformanceDecision",
            "Drop",
            "confidence_of_drops",
        ),
        "monitor.performance.versions": ("compare_versions", "VersionComparison"),
        "monitor.performance.comparison": ("Comparison", "Margin", "Arm"),
        "monitor.performance.joining": ("Coverage",),
        "monitor.performance.scored": ("Metric", "Scored", "Spread"),
        "monitor.performance.risk": ("RiskLimit", "RiskState", "RiskEvidence"),
        "monitor.performance.windows": ("ExpectedWindow", "PerformanceWindow"),
        "monitor.performance.reference": ("Reference",),
    },
}


def monitor() -> str:
    """Return the page."""
    titles = list(dict.fromkeys([*_WHOLE, *_SOME]))
    return pages_of({title: _whole(_WHOLE.get(title)) | _SOME.get(title, {}) for title in titles})


def _whole(package: str | None) -> dict[str, tuple[str, ...]]:
    return {} if package is None else {package: tuple(import_module(package).__all__)}
