"""What a function must show before it is used: that it gives what its examples say, and is a function of one row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import polars as pl
import polars.selectors as cs

from featurestore.definitions import Field, OnDemandFeatureView
from featurestore.definitions.functions import PythonFunction
from featurestore.errors import DataError, DefinitionError
from featurestore.transforms.samples import samples

#: How far floats may be apart, relative to the larger: a library may sum a long batch in another order than a short.
_TOLERANCE = 1e-9
_TOLERANCE_OF_FLOAT32 = 1e-6

Compute = Callable[[pl.DataFrame], pl.DataFrame]


def example_rows(view: OnDemandFeatureView, function: PythonFunction) -> pl.DataFrame:
    """Return what the function gets for its examples, one row each; a null is its field's default."""
    return pl.DataFrame(
        [
            pl.Series(one.name, [_given(example, one) for example in function.examples], dtype=one.dtype.to_polars())
            for one in view.given
        ]
    )


def _given(example: Mapping[str, Any], one: Field) -> Any:
    value = example.get(one.name)
    return one.default if value is None else value


def try_function(view: OnDemandFeatureView, function: PythonFunction, compute: Compute) -> None:
    """Run a function on its examples and on rows like them.

    Args:
        view: whose function it is.
        function: the function.
        compute: gives the view's features, in the declared types, for a frame of inputs.

    Raises:
        DefinitionError: it fails on an example, gives something else than the example says or another value the second
            time, or a row has another value among other rows.
    """
    what = f'on-demand feature view "{view.name}"'
    rows = example_rows(view, function)
    expected = pl.DataFrame(
        [
            pl.Series(one.name, [example[one.name] for example in function.examples], dtype=one.dtype.to_polars())
            for one in view.schema
        ]
    )
    for at in range(rows.height):
        try:
            first, second = compute(rows[at]), compute(rows[at])
        except DataError as error:
            raise DefinitionError(f"Example {at + 1}: {error.message}", hint=error.hint) from error
        if _difference(first, second) is not None:
            raise DefinitionError(
                f"The function of {what} gives another value each time for example {at + 1}.",
                hint="What it takes from the clock or from chance, make a request field.",
            )
        name = _difference(first, expected[at])
        if name is not None:
            came, right = (frame[name].to_list() for frame in (first, expected[at]))
            raise DefinitionError(
                f'Example {at + 1} of {what}: "{name}" is {came[0]!r}, and not {right[0]!r}, '
                f"for {rows[at].to_dicts()[0]}.",
                hint="Correct the example, or the function.",
            )
    for batch in (rows, *_made_up(rows)):
        try:
            together = compute(batch)
        except DataError as error:
            if batch is rows:
                raise _looks_at_other_rows(what, f" They fail together: {error.message}") from error
            continue  # what is made up may be nonsense to the function
        _refuse_other_rows(batch, together, compute, what)


def _made_up(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    # Examples may be one row, or alike: rows of which each number is another are what tells a mean from a value.
    varied = [
        rows.with_columns(
            cs.float() * factor + more, cs.integer() + more, cs.decimal() + more, cs.boolean().not_()
        ).cast(rows.schema, strict=False)
        for factor, more in ((0.5, 1), (1.75, 2))
    ]
    yield pl.concat([rows, *varied])
    yield samples(rows.schema)


def _refuse_other_rows(batch: pl.DataFrame, together: pl.DataFrame, compute: Compute, what: str) -> None:
    try:
        alone = pl.concat([compute(batch[at]) for at in range(batch.height)])
    except DataError as error:
        raise _looks_at_other_rows(what, f" A row fails alone: {error.message}") from error
    name = _difference(together, alone)
    if name is not None:
        raise _looks_at_other_rows(what, f' "{name}" is another value beside them.')


def _looks_at_other_rows(what: str, how: str) -> DefinitionError:
    return DefinitionError(
        f"The function of {what} looks at other rows than its own.{how}",
        hint="A lookup has one row, and a training set all: compute figures over many rows in a SqlSource.",
    )


def _difference(left: pl.DataFrame, right: pl.DataFrame) -> str | None:
    """Return the first column in which two frames of one schema differ."""
    for column in left:
        tolerance = _TOLERANCE_OF_FLOAT32 if "Float32" in str(column.dtype) else _TOLERANCE
        pairs = zip(column.to_list(), right[column.name].to_list(), strict=True)
        if not all(_same(one, other, tolerance) for one, other in pairs):
            return column.name
    return None


def _same(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or math.isclose(one, other, rel_tol=tolerance, abs_tol=0)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(_same(*pair, tolerance) for pair in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        return all(_same(value, other[name], tolerance) for name, value in one.items())
    return bool(one == other)
