"""The function of an on-demand view, run by its text in a namespace of its own."""

from __future__ import annotations
import __future__

import builtins
import traceback
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import polars as pl
from polars.exceptions import PanicException

from featurestore.definitions import OnDemandFeatureView
from featurestore.definitions.function_source import POLARS
from featurestore.definitions.functions import PythonFunction
from featurestore.errors import DataError, DefinitionError


class CompiledFunction:
    """The compiled function of one on-demand view.

    Attributes:
        inputs: each column that the function takes, with its Polars type: the features of the input views, then the
            request fields. All of them, since a text does not tell which it uses.

    Raises:
        DefinitionError: a package is not installed here, or the text cannot be compiled by this Python.
    """

    def __init__(self, view: OnDemandFeatureView, function: PythonFunction) -> None:
        self.inputs: dict[str, pl.DataType] = {one.name: one.dtype.to_polars() for one in view.given}
        self._what = f'On-demand feature view "{view.name}"'
        self._declared: dict[Any, pl.DataType] = {one.name: one.dtype.to_polars() for one in view.schema}
        self._source = function.source
        self._file = f"<on-demand feature view {view.name}>"
        for package in function.packages:
            try:
                metadata.version(package)
            except metadata.PackageNotFoundError:
                raise DefinitionError(
                    f'{self._what} needs the package "{package}", which is not installed here.',
                    hint=f"Install it where the view is planned, trained from and served: pip install {package}",
                ) from None
        self._function = self._compiled()

    def _compiled(self) -> Any:
        namespace: dict[str, Any] = {"__builtins__": builtins, "__name__": self._file, POLARS: pl}
        try:
            # With annotations as texts: what they name need not be there.
            flags = __future__.annotations.compiler_flag
            exec(compile(self._source, self._file, "exec", flags, dont_inherit=True), namespace)  # noqa: S102 - the point
        except (SyntaxError, ValueError) as error:
            raise DefinitionError(
                f"{self._what}: its function cannot be compiled by this Python: {error}.",
                hint="Write it for the oldest Python that plans, trains or serves.",
            ) from error
        return next(value for name, value in namespace.items() if name not in ("__builtins__", "__name__", POLARS))

    def compute(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the features of rows, in the declared types.

        Raises:
            DataError: the function fails, or gives something else than one row of its features for each row.
        """
        try:
            made = self._function(rows.select(list(self.inputs)))
        except (Exception, SystemExit, PanicException) as error:
            raise DataError(
                f"{self._what} failed{self._line(error)}: {type(error).__name__}: {_first_line(error)}",
                hint="Such rows must give a value, or null, too.",
            ) from error
        features = self._frame(made)
        if features.height != rows.height:
            raise DataError(
                f"{self._what} gave {features.height:,} rows for {rows.height:,}.",
                hint="Its function gives one row for each row that it gets, in order; a single row comes to it twice.",
            )
        try:
            return features.cast(self._declared, strict=False)
        except (pl.exceptions.PolarsError, PanicException) as error:
            raise DataError(
                f"{self._what} gave values that are not of the declared types: {_first_line(error)}",
                hint="It has: " + ", ".join(f"{one.name} ({one.dtype})" for one in features) + ".",
            ) from error

    def _line(self, error: BaseException) -> str:
        lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == self._file]
        if not lines or not lines[-1]:
            return ""
        return f" in line {lines[-1]} of its function ({self._source.splitlines()[lines[-1] - 1].strip()})"

    def _frame(self, made: Any) -> pl.DataFrame:
        if isinstance(made, Mapping):
            columns = made
        elif isinstance(made, pl.DataFrame):
            columns = made.to_dict()
        else:
            kind = "None" if made is None else f"a {type(made).__name__}"
            raise DataError(
                f"{self._what} gave {kind}, and not a frame or a dict of Series.",
                hint="Return a polars.DataFrame, or a dict with a Series for each feature.",
            )
        for name in self._declared:
            if name not in columns:
                raise DataError(
                    f'{self._what} gave no "{name}".',
                    hint="It gave: " + ", ".join(map(str, columns)) + ".",
                )
        try:
            # Not strictly: a list that mixes 1 and 2.5 is of floats, whatever comes first.
            return pl.DataFrame([pl.Series(name, columns[name], strict=False) for name in self._declared])
        except (pl.exceptions.PolarsError, TypeError, ValueError) as error:
            raise DataError(
                f"{self._what} gave columns that make no frame: {_first_line(error)}",
                hint="A feature is a Series, with one value for each row.",
            ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no message").splitlines()[0].rstrip(".") + "."
