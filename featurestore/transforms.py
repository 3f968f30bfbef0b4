"""On-demand expressions: SQL text, evaluated by Polars wherever they run, so that training and serving agree."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from featurestore.definitions import OnDemandFeatureView
from featurestore.errors import DataError, DefinitionError, closest

#: SQL whose result is not a function of the row: a feature made by it could never be reproduced.
_CLOCK_OR_CHANCE = re.compile(
    r"\b(?:(?:now|rand|random|uuid|gen_random_uuid|today)(?=\s*\()"
    r"|(?:current_(?:timestamp|date|time)|localtime|localtimestamp)\b)",
    re.IGNORECASE,
)

#: SQL that looks at other rows too: a lookup of one row and a training set of many would disagree.
_OTHER_ROWS = re.compile(
    r"\b(?:any_value|approx_\w+|array_agg|avg|bit_and|bit_or|bit_xor|bool_and|bool_or|corr|count|covar\w*|first\w*"
    r"|lag|last\w*|lead|listagg|max|mean|median|min|mode|ntile|over|product|quantile\w*|rank|row_number|std\w*"
    r"|string_agg|sum|unnest|var\w*)(?=\s*\()",
    re.IGNORECASE,
)

#: What is not code: texts, quoted names and comments. A number with a point is the one group.
_QUOTED_OR_DECIMAL = re.compile(
    r"'[^']*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/|(?<![\w.])(?P<decimal>\d+\.\d*|\.\d+)(?![\w.])", re.DOTALL
)


class Transform:
    """The compiled expressions of one on-demand view.

    An expression is a function of one row. Numbers with a point are binary floating point, as in Python, and the
    result is cast to the declared type: a fraction is cut when that is an integer, and what the type cannot hold is
    null, so that one odd row costs its own value and not its neighbours'.

    Attributes:
        view: the view.
        inputs: each column that an evaluation needs, with its Polars type, in order: the features of the input views,
            then the request fields. Only those that an expression names.

    Raises:
        DefinitionError: an expression cannot be parsed, names a column that neither the inputs nor the request have,
            depends on the clock, on chance or on other rows, or gives a value that cannot be of the declared type.
    """

    def __init__(self, view: OnDemandFeatureView) -> None:
        self.view = view
        known: dict[str, pl.DataType] = {
            one.name: one.dtype.to_polars() for source in view.inputs for one in source.schema
        } | {one.name: one.dtype.to_polars() for one in view.request}
        used: set[str] = set()
        self._expressions: list[pl.Expr] = []
        for one in view.schema:
            expression = self._parse(one.name, view.expressions[one.name])
            for column in expression.meta.root_names():
                if column not in known:
                    raise DefinitionError(
                        f'{self._where(one.name)} names "{column}", '
                        "which is neither a feature of its inputs nor a request field.",
                        hint=closest(column, known),
                    )
                used.add(column)
            self._expressions.append(expression.cast(one.dtype.to_polars(), strict=False).alias(one.name))
        self.inputs = {name: dtype for name, dtype in known.items() if name in used}
        empty = pl.DataFrame(schema=known)
        for one, expression in zip(view.schema, self._expressions, strict=True):
            try:
                empty.select(expression)
            except PolarsError as error:
                raise DefinitionError(
                    f"{self._where(one.name)} cannot be evaluated: {_first_line(error)}.",
                    hint="Check the types of the columns that it names.",
                ) from error
            self._refuse_other_rows(one.name, expression, known)

    def _where(self, name: str) -> str:
        return f'The expression of "{name}" in on-demand feature view "{self.view.name}"'

    def _parse(self, name: str, text: str) -> pl.Expr:
        code = _QUOTED_OR_DECIMAL.sub(" ", text)
        if found := _CLOCK_OR_CHANCE.search(code):
            raise DefinitionError(
                f"{self._where(name)} uses {found.group()}, whose result changes from call to call.",
                hint="Make it a request field, so that it is logged and can be reproduced.",
            )
        if found := _OTHER_ROWS.search(code):
            raise self._looks_at_other_rows(name, f"uses {found.group()}(...), which")
        # Polars' SQL reads 24.0 as a Decimal, and then divides to six digits; an exponent makes it a float.
        floats = _QUOTED_OR_DECIMAL.sub(
            lambda match: f"{match.group()}e0" if match.group("decimal") else match.group(), text
        )
        try:
            return pl.sql_expr(floats)
        except PolarsError as error:
            raise DefinitionError(
                f"{self._where(name)} is not valid SQL: {_first_line(error)}.", hint=f"It reads: {text}"
            ) from error

    def _refuse_other_rows(self, name: str, expression: pl.Expr, known: dict[str, pl.DataType]) -> None:
        # The list of functions above is only as good as our knowledge of Polars; three rows tell the rest.
        digits = pl.Series(["1", "2", "4"])
        rows = pl.DataFrame({column: _sample(digits, dtype) for column, dtype in known.items()})
        try:
            together = rows.with_columns(expression).get_column(name)
            alone = pl.concat([rows[at].with_columns(expression).get_column(name) for at in range(rows.height)])
        except PolarsError:
            return  # the sample does not suit the expression; what it does with real rows is evaluate()'s to tell
        if not together.equals(alone):
            raise self._looks_at_other_rows(name, "")

    def _looks_at_other_rows(self, name: str, what: str) -> DefinitionError:
        return DefinitionError(
            " ".join(filter(None, (self._where(name), what, "looks at other rows than its own."))),
            hint="Compute figures over many rows in a SqlSource; greatest() and least() compare columns.",
        )

    def evaluate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the view's features, one row for each row of ``frame``.

        Args:
            frame: has at least the columns of :attr:`inputs`, of those types, and at least one column.

        Returns:
            A frame of the same height whose columns are the view's schema: names, order and types.

        Raises:
            DataError: Polars refuses the values, as a strict CAST of a text that is no number does.
        """
        try:
            return self._evaluate(frame)
        except PolarsError as error:
            raise DataError(
                f'On-demand feature view "{self.view.name}" cannot be evaluated: {_first_line(error)}.',
                hint="TRY_CAST gives null where CAST fails.",
            ) from error

    def _evaluate(self, frame: pl.DataFrame) -> pl.DataFrame:
        # Polars divides by a constant exactly where a column, or a chunk of one, has one row; longer ones it multiplies
        # by the reciprocal, and the last bit may differ. So columns are one chunk of at least two rows.
        rows = frame.rechunk()
        if frame.height == 1 and self.inputs:
            rows = pl.DataFrame([pl.concat([one, one], rechunk=True) for one in frame.select(list(self.inputs))])
        # A constant expression gives one row; with_columns spreads it over the frame.
        features = rows.with_columns(self._expressions).select([one.name for one in self.view.schema])
        return features.head(frame.height)


def _sample(digits: pl.Series, dtype: pl.DataType) -> pl.Series:
    if dtype in (pl.String, pl.Binary):
        return digits.cast(dtype)
    return digits.cast(pl.Int32).cast(pl.Int64 if dtype != pl.Date else pl.Int32).cast(dtype)


def _first_line(error: Any) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
