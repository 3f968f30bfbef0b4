"""What a notebook shows of the monitor's reports: names as they are written, whatever they hold."""

from __future__ import annotations

from datetime import UTC, datetime

from featurestore.statistics.estimate import Estimate
from monitor import budget
from monitor.backtest import Achieved, BacktestReport, Page, StreamReplay
from monitor.decisions import Association, SecondOpinion
from monitor.performance.joining import Coverage
from monitor.performance.reading import PerformanceReport
from monitor.performance.scored import Metric
from monitor.pipeline import RunReport, ServiceReport
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


def test_a_run_is_a_line_for_each_stream() -> None:
    service = ServiceReport(service=HOSTILE, windows=40, verdict="drift", fired=1, log_evidence=8.0, log_limit=7.68)
    shown = Read(
        RunReport(policy="watch@1", watermark=AT, services=(service, ServiceReport(service="b@1")))._repr_html_()
    )
    assert "script" not in shown.tags
    assert shown.tags.count("tr") == 3
    assert {"watch@1, complete up to 2026-05-02 00:00", HOSTILE, "40", "drift", "ln 8.00 of ln 7.68"} <= set(shown.said)


def test_a_second_opinion_names_the_pairs_that_go_together_otherwise() -> None:
    opinion = SecondOpinion(
        area=Estimate(0.71, 0.66, 0.76),
        discrepancy=Estimate(0.2, 0.1, 0.3),
        threshold=0.1,
        reference_rows=1000,
        current_rows=900,
        associations=(Association(features=("total", HOSTILE), baseline=0.1, current=0.8),),
        verdict="drift",
    )
    shown = Read(opinion._repr_html_())
    assert "drift: area under the curve 0.71 [0.66, 0.76], over 1,000 and 900 rows" in shown.said
    assert f"total and {HOSTILE}: correlation 0.10 -> 0.80" in shown.said
    assert "script" not in shown.tags
