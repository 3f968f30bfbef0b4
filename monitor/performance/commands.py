"""``featurestore monitor performance | reference | compare | importance``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.options import HERE, Format, OutputFormat, Repo, instant, open_store, print_json
from featurestore.errors import MonitorError

if TYPE_CHECKING:
    from monitor.performance.comparison import Margin

Replay = Annotated[str, typer.Option("--replay", metavar="NAME", help="A rehearsal instead of the live log.")]
Since = Annotated[str, typer.Option("--since", metavar="INSTANT", help="First instant of a prediction: 2026-03-01.")]


class Missing(StrEnum):
    """What no outcome means."""

    unknown = "unknown"
    zero = "zero"


def performance(
    service: Annotated[str, typer.Argument(help="A service (scoring, scoring@1), or a model (churn, churn@3).")],
    since: Since = "",
    window: Annotated[str, typer.Option(metavar="DURATION", help="The length of a window.")] = "1d",
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop", metavar="METRIC=POINTS", help="Say where a metric surely is so much worse: accuracy=0.02."
        ),
    ] = None,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Show how models do, by outcomes that have come, with intervals; and what is to be expected of the rest."""
    from featurestore.settings.retention import duration
    from monitor.performance.reading import feedback_watermark, models_of, read_performance
    from monitor.performance.rendering import report_json, report_lines

    length = duration(window, "--window")
    drops = _drops(drop or [])
    with open_store(repo, replay) as store:
        now = feedback_watermark(store, now=datetime.now(UTC))
        first = instant(since, "--since")
        reports = [
            read_performance(store, one, now=now, window=length, since=first) for one in models_of(store, service)
        ]
    if output is Format.json:
        print_json([report_json(one, drops) for one in reports])
        return
    for report in reports:
        for line in report_lines(report, drops):
            typer.echo(line)


def reference(
    model: Annotated[str, typer.Argument(help="A model: churn, churn@3.")],
    since: Since = "",
    until: Annotated[str, typer.Option(metavar="INSTANT", help="First instant that is too late.")] = "",
    tolerance: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="By how much more the running risk may grow: 0.02 is two points.")
    ] = 0.02,
    repo: Repo = HERE,
    replay: Replay = "",
) -> None:
    """Record how a model did in a first serving period as its own baseline, in place of the one before."""
    from monitor.performance.reading import feedback_watermark, record_reference
    from monitor.performance.rendering import metric_line

    with open_store(repo, replay) as store:
        made = record_reference(
            store,
            model,
            now=feedback_watermark(store, now=datetime.now(UTC)),
            since=instant(since, "--since"),
            until=instant(until, "--until"),
            tolerance=tolerance,
        )
    days = f" of {made.blocks:,} days" if made.blocks else ""
    typer.echo(f"Baseline of {model}: {made.rows:,} predictions{days}, {made.source}")
    for metric in made.metrics.values():
        typer.echo(f"  {metric_line(metric)}")
    typer.echo(f"  the running risk ({made.risk.loss}) is {made.risk.source:.4g} and may be {made.risk.limit:.4g}")


def compare(
    a: Annotated[str, typer.Argument(help="The version to compare with: scoring@1, or a model, churn@1.")],
    b: Annotated[str, typer.Argument(help="The version in question: scoring@2.")],
    metric: Annotated[str, typer.Option(help="A metric of logged outcomes, or accuracy, brier, mae, mse.")],
    at_least: Annotated[
        str,
        typer.Option(
            metavar="AMOUNT", help="By how much B must be better: 5%, or 0.02 in its unit; -2%: no worse than that."
        ),
    ] = "0%",
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="A smaller metric is the better one.")
    ] = False,
    since: Since = "",
    missing: Annotated[
        Missing | None, typer.Option(help="What no outcome means; as the model declares it when not given.")
    ] = None,
    all_times: Annotated[bool, typer.Option("--all-times", help="Also times when only one of them served.")] = False,
    anytime: Annotated[
        bool, typer.Option("--anytime", help="Intervals that hold however often one looks; they are wider.")
    ] = False,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Of each interval.")] = 0.95,
    repo: Repo = HERE,
    replay: Replay = "",
    output: OutputFormat = Format.text,
) -> None:
    """Say whether one version is better than another on a metric, by so much: yes, no, or not yet."""
    from monitor.performance.reading import feedback_watermark
    from monitor.performance.rendering import comparison_json, comparison_lines
    from monitor.performance.versions import compare_versions

    margin = _margin(at_least, lower_is_better=lower_is_better)
    with open_store(repo, replay) as store:
        found = compare_versions(
            store,
            a,
            b,
            metric=metric,
            margin=margin,
            now=feedback_watermark(store, now=datetime.now(UTC)),
            since=instant(since, "--since"),
            missing="" if missing is None else missing.value,
            all_times=all_times,
            confidence=confidence,
            always_valid=anytime,
        )
    if output is Format.json:
        print_json(comparison_json(found))
        return
    for line in comparison_lines(found):
        typer.echo(line)


def importance(
    model: Annotated[str, typer.Argument(help="A model: churn, churn@3.")],
    predict: Annotated[str, typer.Option(metavar="MODULE:FUNCTION", help="Takes a Polars frame, gives predictions.")],
    dataset: Annotated[str, typer.Option(help="Of the model when not given.")] = "",
    part: Annotated[str, typer.Option(help="Of a dataset that was split: test.")] = "",
    metric: Annotated[str, typer.Option(help="roc_auc, accuracy or rmse, by the task, when not given.")] = "",
    repeats: Annotated[int, typer.Option(min=1, help="Shuffles of each feature.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of the shuffles.")] = 0,
    record: Annotated[
        bool, typer.Option("--record", help="Keep them with the model: alerts rank features by them.")
    ] = False,
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Measure how much worse a model gets when the values of one feature are dealt to other rows."""
    from monitor.performance.ranking import model_importance
    from monitor.performance.rendering import importance_json, importance_lines

    function = _function(predict, repo)
    with open_store(repo) as store:
        name, found = model_importance(
            store,
            model,
            function,
            dataset=dataset,
            part=part,
            metric=metric,
            repeats=repeats,
            seed=seed,
            record=record,
        )
    if output is Format.json:
        print_json(importance_json(name, found))
        return
    for line in importance_lines(name, found):
        typer.echo(line)
    if record:
        typer.echo(f"Recorded with {name}.")


def register(app: typer.Typer) -> None:
    """Add the commands to ``featurestore monitor``."""
    for command in (performance, reference, compare, importance):
        app.command()(command)


def _drops(given: list[str]) -> dict[str, float]:
    from monitor.performance.judging import PerformanceRules

    found = {}
    for text in given:
        name, _, points = text.partition("=")
        try:
            found[name] = float(points)
        except ValueError:
            raise MonitorError(
                f'--drop "{text}" names no metric and points.', hint="Write --drop accuracy=0.02"
            ) from None
    return dict(PerformanceRules(drops=found).drops)


def _margin(text: str, *, lower_is_better: bool) -> Margin:
    from monitor.performance.comparison import Margin

    number, relative = text.strip(), False
    if number.endswith("%"):
        number, relative = number[:-1], True
    try:
        amount = float(number)
    except ValueError:
        amount = float("nan")
    if not -1e12 < amount < 1e12:
        raise MonitorError(f'--at-least "{text}" is no amount.', hint="Write 5%, or 0.02 in the metric's unit.")
    return Margin(amount=amount / 100 if relative else amount, relative=relative, lower_is_better=lower_is_better)


def _function(text: str, repo: Path) -> Callable[[Any], Any]:
    name, _, attribute = text.partition(":")
    sys.path.insert(0, str(repo.resolve()))
    try:
        found = getattr(importlib.import_module(name), attribute)
    except (ImportError, ValueError, AttributeError) as error:
        raise MonitorError(
            f'--predict "{text}" cannot be imported: {error}.',
            hint="Write MODULE:FUNCTION; the module lies in the store's folder, or is installed.",
        ) from error
    finally:
        sys.path.remove(str(repo.resolve()))
    if not callable(found):
        raise MonitorError(f'--predict "{text}" is no function.', hint="Name one that takes a Polars frame.")
    function: Callable[[Any], Any] = found
    return function
