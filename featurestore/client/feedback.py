"""Predictions and outcomes as users have them -> messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurestore import types
from featurestore.client.request import columns_of
from featurestore.errors import InvalidRequestError, closest
from featurestore.v1 import serving_pb2 as pb


@dataclass(frozen=True)
class Logged:
    """What was logged, on the server's disk.

    Attributes:
        model: ``flight_delay_ridge@3``; of outcomes the name that was given.
        logged: how many.
    """

    model: str
    logged: int


def predictions_of(rows: Any) -> list[pb.Prediction]:
    """Return the messages of predictions: ``prediction_id``, ``value``, and what else is known.

    Raises:
        InvalidRequestError: a column is missing, surplus or of another type.
        TimestampError: an instant names no time zone.
    """
    return [
        pb.Prediction(**_value(row, number), **_fields(row, number, _PREDICTION))
        for number, row in enumerate(_rows(rows, ("prediction_id", "value"), _PREDICTION))
    ]


def outcomes_of(rows: Any) -> list[pb.Outcome]:
    """Return the messages of outcomes: ``prediction_id``, ``value``, and what else is known.

    Raises:
        InvalidRequestError: a column is missing, surplus or of another type.
        TimestampError: an instant names no time zone.
    """
    return [
        pb.Outcome(**_value(row, number), **_fields(row, number, _OUTCOME))
        for number, row in enumerate(_rows(rows, ("prediction_id", "value"), _OUTCOME))
    ]


def _rows(rows: Any, needed: tuple[str, ...], known: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    columns = columns_of(rows)
    for name in columns:
        if name not in known and name != "value":
            raise InvalidRequestError(
                f'The rows have a column "{name}", which has no place.', hint=closest(name, [*known, "value"])
            )
    for name in needed:
        if columns and name not in columns:
            raise InvalidRequestError(f'The rows lack "{name}".', hint="Each needs: " + ", ".join(needed) + ".")
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _value(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    value = row["value"]
    if isinstance(value, str):
        return {"label": value}
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidRequestError(
            f'"value" of row {number} is {value!r}, which is neither a number nor a label.',
            hint="A label is a text, a score a number.",
            field="value",
            row=number,
        )
    return {"number": float(value)}


def _fields(row: Mapping[str, Any], number: int, readers: Mapping[str, Callable[[Any], Any]]) -> dict[str, Any]:
    found = {}
    for name, read in readers.items():
        if row.get(name) is None:
            if name == "prediction_id":
                raise InvalidRequestError(f'Row {number} has no "prediction_id".', hint="It names the prediction.")
            continue
        try:
            found[name] = read(row[name])
        except (TypeError, ValueError):
            raise InvalidRequestError(
                f'"{name}" of row {number} is {row[name]!r}.', hint=_FORMS[name], field=name, row=number
            ) from None
    return found


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _place(value: Any) -> int:
    if isinstance(value, bool) or int(value) != value or not 0 <= value < 1 << 32:
        raise ValueError
    return int(value)


def _probabilities(value: Any) -> dict[str, float]:
    # A struct of Arrow has every label of every row; those that are not of this one are null.
    return {_text(label): float(one) for label, one in value.items() if one is not None}


def _instant(value: Any) -> int:
    return types.microseconds(types.utc(value, "An instant"))


_PREDICTION: dict[str, Callable[[Any], Any]] = {
    "prediction_id": _text,
    "request_id": _text,
    "row": _place,
    "probabilities": lambda value: _probabilities(dict(value)),
    "predicted_at": _instant,
}
_OUTCOME: dict[str, Callable[[Any], Any]] = {"prediction_id": _text, "metric": _text, "observed_at": _instant}
_FORMS = {
    "prediction_id": "It is a text.",
    "request_id": "It is a text: request_id of the lookup's answer.",
    "row": "It is the entity row within the lookup, from 0.",
    "probabilities": 'It is a dict of labels and numbers: {"yes": 0.7, "no": 0.3}.',
    "metric": "It is a text; leave it out for what the model predicts.",
    "predicted_at": "It is an aware datetime.",
    "observed_at": "It is an aware datetime.",
}
