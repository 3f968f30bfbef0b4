"""What a notebook shows of the monitor's reports: names as they are written, whatever they hold."""

from __future__ import annotations

from datetime import UTC, datetime

from featurestore.statistics.estimate import Estimate
from monitor import budget
from monitor.backtest import Achieved, BacktestReport, Page, StreamReplay
from monitor.performance.joining import Coverage
from monitor.performance.reading import PerformanceReport
from monitor.performance.scored import Metric
from tests.featurestore.test_notebooks import HOSTILE, Read

AT = datetime(2026, 5, 2, tzinfo=UTC)
STREAM = StreamReplay(
    service="scoring@1", slice="", windows=53, skipped=0, first=AT, last=AT, run_length=2160.0, achieved=None
)
PAGE = Page(service=HOSTILE, slice="", rule="null_spike", at=AT, onset=AT, resolved=None, on=("total", HOSTILE))


def _backtest(*pages: Page, achieved: Achieved | None = None) -> BacktestReport:
    share = budget.Share(route="ops", budget=1.0, weight=1.0)
    return BacktestReport(policy="watch@1", share=share, streams=(STREAM,), pages=pages, checks=2, achieved=achieved)


def test_a_backtest_is_a_table_of_the_pages_that_would_have_gone_out() -> None:
    achieved = Achieved(windows=500, pages=0, windows_per_quarter=91.3)
    shown = Read(_backtest(PAGE, achieved=achieved)._repr_html_())
    assert "script" not in shown.tags
    assert shown.tags.count("tr") == 2
    assert {"It would have paged 1 time (1 null spike):", "null spike", HOSTILE, f"total, {HOSTILE}"} <= set(shown.said)
    said = " ".join(shown.said)
    assert "watch@1: channel ops, 1 false pages a quarter" in said
    assert "Chance alone: 0 false pages in 500 windows" in said


def test_a_backtest_that_paged_nobody_says_so_without_a_table() -> None:
    shown = Read(_backtest()._repr_html_())
    assert "table" not in shown.tags
    assert "It would have paged nobody." in shown.said
    assert "Chance alone: unknown, as no baseline has the days to replay." in shown.said


def test_performance_stands_beside_its_interval_and_says_why_there_is_none() -> None:
    metrics = {
        "accuracy": Metric(name="accuracy", estimate=Estimate(0.9, 0.85, 0.95), rows=80),
        "roc_auc": Metric(name="roc_auc", estimate=None, rows=80, reason=HOSTILE),
    }
    report = PerformanceReport(
        model=HOSTILE,
        task="binary",
        coverage=Coverage(predictions=100, matured=90, with_outcome=80),
        metrics=metrics,
        windows=(),
        reference=None,
        estimated={},
    )
    shown = Read(report._repr_html_())
    assert {f"{HOSTILE}: 90 of 100 predictions matured, 80 with an outcome", "0.9 [0.85, 0.95]", HOSTILE} <= set(
        shown.said
    )
    assert "script" not in shown.tags
