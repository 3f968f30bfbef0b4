"""On-demand expressions: SQL text, evaluated by Polars wherever they run, so that training and serving agree."""

from __future__ import annotations

from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from featurestore.definitions import OnDemandFeatureView
from featurestore.errors import DefinitionError, closest

#: SQL functions whose result is not a function of the row: a feature made by one could never be reproduced.
_NOT_DETERMINISTIC = ("rand", "random", "now", "current_timestamp", "current_date", "current_time", "uuid")


class Transform:
    """The compiled expressions of one on-demand view.

    Attributes:
        view: the view.
        inputs: each column that an evaluation needs, with its Polars type, in order: the features of the input views,
            then the request fields. Only those that an expression names.

    Raises:
        DefinitionError: an expression cannot be parsed, names a column that neither the inputs nor the request have,
            calls a function whose result changes from call to call, or gives a value that is not of the declared type.
    """

    def __init__(self, view: OnDemandFeatureView) -> None:
        self.view = view
        known: dict[str, pl.DataType] = {
            one.name: one.dtype.to_polars() for source in view.inputs for one in source.schema
        } | {one.name: one.dtype.to_polars() for one in view.request}
        used: set[str] = set()
        self._expressions: list[pl.Expr] = []
        for one in view.schema:
            text = view.expressions[one.name]
            expression = self._parse(one.name, text)
            for column in expression.meta.root_names():
                if column not in known:
                    raise DefinitionError(
                        f'The expression of "{one.name}" in on-demand feature view "{view.name}" names "{column}", '
                        "which is neither a feature of its inputs nor a request field.",
                        hint=closest(column, known),
                    )
                used.add(column)
            # Polars' SQL reads decimal literals as Decimal, so the declared type is always asked for.
            self._expressions.append(expression.cast(one.dtype.to_polars()).alias(one.name))
        self.inputs = {name: dtype for name, dtype in known.items() if name in used}
        empty = pl.DataFrame(schema=known)
        try:
            empty.select(self._expressions)
        except PolarsError as error:
            raise DefinitionError(
                f'On-demand feature view "{view.name}" cannot be evaluated: {_first_line(error)}.',
                hint="Check the types of the columns that its expressions name.",
            ) from error

    def _parse(self, name: str, text: str) -> pl.Expr:
        where = f'The expression of "{name}" in on-demand feature view "{self.view.name}"'
        lowered = text.lower()
        for function in _NOT_DETERMINISTIC:
            if f"{function}(" in lowered.replace(" ", ""):
                raise DefinitionError(
                    f"{where} calls {function}(), whose result changes from call to call.",
                    hint="Make it a request field, so that it is logged and can be reproduced.",
                )
        try:
            return pl.sql_expr(text)
        except PolarsError as error:
            raise DefinitionError(
                f"{where} is not valid SQL: {_first_line(error)}.", hint=f"It reads: {text}"
            ) from error

    def evaluate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the view's features, one row for each row of ``frame``.

        Args:
            frame: has at least the columns of :attr:`inputs`, of those types.

        Returns:
            A frame of the same height whose columns are the view's schema: names, order and types.
        """
        # A constant expression gives one row; with_columns spreads it over the frame.
        return frame.with_columns(self._expressions).select([one.name for one in self.view.schema])


def _first_line(error: Any) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
