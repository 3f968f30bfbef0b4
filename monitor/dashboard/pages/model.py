"""One model: how it was made, how it did at training and does now, and which features matter to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from featurestore import plots
from featurestore.errors import FeatureStoreError, ObjectNotFoundError
from featurestore.registry import ModelRecord
from monitor.dashboard import performance
from monitor.dashboard.page import Asked, Page, Picture, Values
from monitor.dashboard.pages.models import model_values
from monitor.dashboard.reading import Reader

#: Importances that are shown.
_IMPORTANCES = 30
#: How far back its performance is measured, in days: what is offered, and what is shown where nothing is said.
DAYS = (7, 30, 90)
_USUAL = 30


def read(reader: Reader, asked: Asked) -> Values:
    """Return everything about a model.

    Raises:
        ObjectNotFoundError: there is no such model.
    """
    registry = reader.registry
    model = registry.model(asked.path["name"])
    faults: list[dict[str, str]] = []
    ranked = _ranked(model)
    others = [one.id for one in registry.models(model.service.partition("@")[0]) if one.id != model.id]
    looks = _looks(reader, model.id, faults)
    return {
        "title": f"Model {model.id}",
        **model_values(model),
        "git_commit": model.git_commit,
        "hyperparameters": {key: str(value) for key, value in model.hyperparameters.items()},
        "importances": [
            {"feature": name, "value": value, "interval": list(model.importance_intervals.get(name, ())) or None}
            for name, value in ranked[:_IMPORTANCES]
        ],
        "more_importances": max(0, len(ranked) - _IMPORTANCES),
        "packages": len(model.environment),
        "others": others,
        "looks": looks,
        "looks_drawn": bool(performance.look_panels(looks)),
        **_measured(reader, model, looks, asked, faults),
        "faults": faults,
    }


def _ranked(model: ModelRecord) -> list[tuple[str, float]]:
    return sorted(model.feature_importances.items(), key=lambda one: (-abs(one[1]), one[0]))


def _looks(reader: Reader, model: str, faults: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Return what the monitor found of its performance, the newest look first."""
    if not reader.has_history():
        return []
    try:
        with reader.history.read() as connection:
            return performance.looks(connection, model)
    except FeatureStoreError as error:
        faults.append({"what": error.message, "hint": error.hint})
        return []


def _measured(
    reader: Reader, model: ModelRecord, looks: Sequence[Mapping[str, Any]], asked: Asked, faults: list[dict[str, str]]
) -> dict[str, Any]:
    """Return how it does on what was logged, where it declares what it predicts and the log is small, or asked for."""
    size = performance.log_size(reader, model.id)
    days = _days(asked)
    about: dict[str, Any] = {
        "task": model.evaluation.task,
        "days": days,
        "offered": list(DAYS),
        "log_bytes": size,
        "performance": None,
        "drawn": False,
    }
    if not model.evaluation.task or not size or (size > performance.SMALL and "days" not in asked.query):
        return about
    try:
        report = performance.measured(reader, model.id, days=days, now=asked.now)
    except FeatureStoreError as error:
        faults.append({"what": error.message, "hint": error.hint})
        return about
    return about | {"performance": report, "drawn": bool(performance.panels(report, _points(looks)))}


def _points(looks: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return how much worse matters, as it was judged last."""
    return {one["metric"]: one["points"] for one in looks[0]["drops"]} if looks else {}


def _days(asked: Asked) -> int:
    given = asked.query.get("days", "")
    return int(given) if given in {str(one) for one in DAYS} else _USUAL


def draw_performance(reader: Reader, asked: Asked) -> str:
    """Return its metrics over time, measured and estimated.

    Raises:
        ObjectNotFoundError: there is nothing to draw.
    """
    model = reader.registry.model(asked.path["name"]).id
    report = performance.measured(reader, model, days=_days(asked), now=asked.now)
    return _svg(performance.panels(report, _points(_looks(reader, model, []))), asked)


def draw_looks(reader: Reader, asked: Asked) -> str:
    """Return how much worse than its own baseline it was, as the monitor has judged it.

    Raises:
        ObjectNotFoundError: there is nothing to draw.
    """
    return _svg(performance.look_panels(_looks(reader, reader.registry.model(asked.path["name"]).id, [])), asked)


def draw_importances(reader: Reader, asked: Asked) -> str:
    """Return its importances as bars, those that matter most first.

    Raises:
        ObjectNotFoundError: none are recorded.
    """
    model = reader.registry.model(asked.path["name"])
    shown = _ranked(model)[:_IMPORTANCES]
    if not shown:
        raise ObjectNotFoundError(f"No importances are recorded of {model.id}.")
    drawn = plots.Ranked(
        names=[name for name, _ in shown],
        values=[value for _, value in shown],
        intervals=[model.importance_intervals.get(name) for name, _ in shown],
        x="importance",
    )
    return plots.svg(plots.ranked("", drawn, width=360), dark="dark" in asked.query)


def _svg(panels: list[plots.Panel], asked: Asked) -> str:
    if not panels:
        raise ObjectNotFoundError(f'There are no two windows of "{asked.path["name"]}" to draw.')
    return plots.svg(plots.chart("", panels), dark="dark" in asked.query)


PAGE = Page(
    name="model",
    path="/models/{name}",
    read=read,
    twin=lambda asked: ("model", "list", asked.path["name"]),
    query=("days",),
)
PICTURES = (
    Picture(path="/models/{name}/performance.svg", draw=draw_performance, query=("days",), seconds=performance.SECONDS),
    Picture(path="/models/{name}/judged.svg", draw=draw_looks),
    Picture(path="/models/{name}/importances.svg", draw=draw_importances),
)
