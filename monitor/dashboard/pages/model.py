"""One model: how it was made, how it did at training and does now, and which features matter to it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from featurestore.errors import FeatureStoreError
from monitor import schema
from monitor.dashboard.page import Asked, Page, Values
from monitor.dashboard.pages.models import model_values
from monitor.dashboard.reading import Reader
from monitor.history import instant

#: Importances, and looks at its performance, that are shown.
_IMPORTANCES, _LOOKS = 30, 30


def read(reader: Reader, asked: Asked) -> Values:
    """Return everything about a model.

    Raises:
        ObjectNotFoundError: there is no such model.
    """
    registry = reader.registry
    model = registry.model(asked.path["name"])
    faults: list[dict[str, str]] = []
    importances = sorted(model.feature_importances.items(), key=lambda one: (-abs(one[1]), one[0]))
    others = [one.id for one in registry.models(model.service.partition("@")[0]) if one.id != model.id]
    return {
        "title": f"Model {model.id}",
        **model_values(model),
        "git_commit": model.git_commit,
        "hyperparameters": {key: str(value) for key, value in model.hyperparameters.items()},
        "importances": [
            {"feature": name, "value": value, "interval": list(model.importance_intervals.get(name, ())) or None}
            for name, value in importances[:_IMPORTANCES]
        ],
        "more_importances": max(0, len(importances) - _IMPORTANCES),
        "packages": len(model.environment),
        "others": others,
        "looks": _looks(reader, model.id, faults),
        "faults": faults,
    }


def _looks(reader: Reader, model: str, faults: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Return what the monitor found of its performance, the newest look first."""
    checks = schema.checks
    query = (
        select(checks).where(checks.c.subject == f"performance of {model}").order_by(checks.c.at.desc()).limit(_LOOKS)
    )
    try:
        with reader.history.read() as connection:
            rows = connection.execute(query).all()
    except FeatureStoreError as error:
        faults.append({"what": error.message, "hint": error.hint})
        return []
    return [
        {
            "at": None if (at := instant(row.at)) is None else at.isoformat(),
            "verdict": row.verdict,
            "policy": row.policy,
        }
        for row in rows
    ]


PAGE = Page(
    name="model",
    path="/models/{name}",
    read=read,
    twin=lambda asked: ("model", "list", asked.path["name"]),
)
