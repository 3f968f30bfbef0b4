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
    """Return the messages of predictions: ``prediction_id``, ``number`` or ``label``, and what else is known.

    Raises:
        InvalidRequestError: a column is missing, surplus or of another type.
        TimestampError: an instant names no time zone.
    """
    return [
        pb.Prediction(**_value(row, number), **_fields(row, number, _PREDICTION))
        for number, row in enumerate(_rows(rows, _PREDICTION))
    ]


def outcomes_of(rows: Any) -> list[pb.Outcome]:
    """Return the messages of outcomes: ``prediction_id``, ``number`` or ``label``, and what else is known.

    Raises:
        InvalidRequestError: a column is missing, surplus or of another type.
        TimestampError: an instant names no time zone.
    """
    return [
        pb.Outcome(**_value(row, number), **_fields(row, number, _OUTCOME))
        for number, row in enumerate(_rows(rows, _OUTCOME))
    ]


def _rows(rows: Any, known: Mapping[str, object]) -> Iterator[dict[str, Any]]:
    columns = columns_of(rows)
    for name in columns:
        if name not in known and name not in _VALUES:
            raise InvalidRequestError(
                f'The rows have a column "{name}", which has no place.', hint=closest(name, [*known, *_VALUES])
            )
    if columns and "prediction_id" not in columns:
        raise InvalidRequestError('The rows lack "prediction_id".', hint="It names the prediction.")
    if columns and not any(name in columns for name in _VALUES):
        raise InvalidRequestError('The rows lack "number" and "label".', hint=_VALUE)
    for values in zip(*columns.values(), strict=True):
        yield dict(zip(columns, values, strict=True))


def _value(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    found = {name: row[name] for name in _VALUES if row.get(name) is not None}
    if len(found) != 1:
        what = "both a number and a label" if found else "neither a number nor a label"
        raise InvalidRequestError(f"Row {number} has {what}.", hint=_VALUE, row=number)
    ((name, value),) = found.items()
    if name == "label" and isinstance(value, str):
        return {"label": value}
    if name == "label" or isinstance(value, (bool, np.bool_)) or not isinstance(value, _NUMBERS):
        raise InvalidRequestError(f'"{name}" of row {number} is {value!r}.', hint=_VALUE, field=name, row=number)
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


#: What is predicted, or true: one of these.
_VALUES = ("number", "label")
_VALUE = "A number is that of a regression or a score, a label the text of a class; each row has one of the two."
_NUMBERS = (int, float, np.integer, np.floating)

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
