"""On-demand expressions: SQL text, evaluated by Polars wherever they run, so that training and serving agree."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from featurestore.definitions import OnDemandFeatureView
from featurestore.errors import DataError, DefinitionError, closest
from featurestore.transforms.samples import samples

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


class Expressions:
    """The compiled expressions of one on-demand view.

    An expression is a function of one row. Numbers with a point are binary floating point, as in Python, and the
    result is cast to the declared type: a fraction is cut when that is an integer, and what the type cannot hold is
    null, so that one odd row costs its own value and not its neighbours'.

    Attributes:
        inputs: each column that an expression names, with its Polars type, in the order of the view.

    Raises:
        DefinitionError: an expression cannot be parsed, names a column that neither the inputs nor the request have,
            depends on the clock, on chance or on other rows, or gives a value that cannot be of the declared type.
    """

    def __init__(self, view: OnDemandFeatureView) -> None:
        self._view = view
        known: dict[str, pl.DataType] = {one.name: one.dtype.to_polars() for one in view.given}
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
        return f'The expression of "{name}" in on-demand feature view "{self._view.name}"'

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
        rows = samples(known)
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

    def compute(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the features of rows, in the declared types.

        Raises:
            DataError: Polars refuses the values, as a strict CAST of a text that is no number does.
        """
        try:
            # A constant expression gives one row; with_columns spreads it over the frame.
            return rows.with_columns(self._expressions).select([one.name for one in self._view.schema])
        except PolarsError as error:
            raise DataError(
                f'On-demand feature view "{self._view.name}" cannot be evaluated: {_first_line(error)}.',
                hint="TRY_CAST gives null where CAST fails.",
            ) from error


def _first_line(error: Any) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")
