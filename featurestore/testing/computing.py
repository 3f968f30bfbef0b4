"""A case of an on-demand view alone: values in, features out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from featurestore.definitions import OnDemandFeatureView
from featurestore.errors import DefinitionError, closest
from featurestore.testing.cases import FeatureCase
from featurestore.testing.comparing import Mismatch, compare_rows, instant, shown
from featurestore.transforms import Transform


def computed(case: FeatureCase, view: OnDemandFeatureView) -> Iterator[Mismatch]:
    """Yield what differs when all rows are computed at once, as for training, and one by one, as for a request.

    Raises:
        DefinitionError: the case names what the view neither takes nor gives.
        DataError: the values cannot be computed with.
    """
    taken, given = [one.name for one in view.given], [one.name for one in view.schema]
    for rows, known, what in ((case.ask, taken, "takes"), (case.expect, given, "gives")):
        for row in rows:
            for name in row:
                if name not in known:
                    raise DefinitionError(f'"{view.name}" {what} no "{name}".', hint=closest(str(name), known))
    transform = Transform(view)
    defaults = {one.name: one.default for one in view.given}
    asked = [{name: row.get(name, defaults[name]) for name in transform.inputs} for row in case.ask]
    labels = [
        f"{number}: " + ", ".join(f"{name}={shown(value)}" for name, value in row.items())
        for number, row in enumerate(case.ask, 1)
    ]
    at_once = _evaluated(transform, asked)
    one_by_one = [_evaluated(transform, [row])[0] for row in asked]
    yield from compare_rows("offline", labels, case.expect, at_once, case.tolerance)
    yield from compare_rows("online", labels, case.expect, one_by_one, case.tolerance)


def _evaluated(transform: Transform, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    columns = {"position__": pl.Series(range(len(rows)), dtype=pl.Int64)}
    for name, dtype in transform.inputs.items():
        values = [instant(row[name]) if isinstance(dtype, pl.Datetime) else row[name] for row in rows]
        try:
            columns[name] = pl.Series(name, values, dtype)
        except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
            raise DefinitionError(
                f'A case of "{transform.view.name}" has in "{name}" what is no {dtype}: {error}.'
            ) from error
    return transform.evaluate(pl.DataFrame(columns)).to_dicts()
