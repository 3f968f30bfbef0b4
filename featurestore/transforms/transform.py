"""An on-demand view compiled, whatever computes it."""

from __future__ import annotations

import statistics
import time
from contextlib import suppress

import polars as pl

from featurestore.definitions import OnDemandFeatureView
from featurestore.errors import DataError
from featurestore.transforms.expressions import Expressions
from featurestore.transforms.functions import CompiledFunction
from featurestore.transforms.samples import samples
from featurestore.transforms.trials import example_rows, try_function

#: How long the cost of a request is measured: seconds, and calls at most.
_MEASURED_FOR = 0.03
_MEASURED_CALLS = 51


class Transform:
    """The compiled expressions, or the compiled function, of one on-demand view.

    Attributes:
        view: the view.
        inputs: each column that an evaluation needs, with its Polars type, in order: the features of the input views,
            then the request fields. Only those that an expression names; for a function, all.

    Raises:
        DefinitionError: the view cannot be computed here, or would give other values elsewhere: an expression cannot be
            parsed, a package is missing, an example is not met, a value depends on the clock, on chance or on other
            rows.
    """

    def __init__(self, view: OnDemandFeatureView) -> None:
        self.view = view
        self._computes: Expressions | CompiledFunction
        if view.function is None:
            self._computes = Expressions(view)
        else:
            self._computes = CompiledFunction(view, view.function)
        self.inputs = self._computes.inputs
        self._declared = {one.name: one.dtype.to_polars() for one in view.schema}
        if view.function is not None:
            try_function(view, view.function, self.evaluate)

    def evaluate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the view's features, one row for each row of ``frame``.

        Args:
            frame: has at least the columns of :attr:`inputs`, of those types, and at least one column.

        Returns:
            A frame of the same height whose columns are the view's schema: names, order and types.

        Raises:
            DataError: the values are not such as the expressions or the function can be computed for.
        """
        if not frame.height:
            return pl.DataFrame(schema=self._declared)  # a function need not know what to do with no rows
        # Polars divides by a constant exactly where a column, or a chunk of one, has one row; longer ones it multiplies
        # by the reciprocal, and the last bit may differ. So columns are one chunk of at least two rows.
        rows = frame.rechunk()
        if frame.height == 1 and self.inputs:
            rows = pl.DataFrame([pl.concat([one, one], rechunk=True) for one in frame.select(list(self.inputs))])
        return self._computes.compute(rows).head(frame.height)

    def microseconds_per_request(self) -> float:
        """Return how long a request of one row takes here, in microseconds: the median of up to 51 calls.

        A function is measured on its first example. Measuring takes 0.03 seconds, or one call that takes longer.
        """
        if self.view.function is None:
            row = samples(self.inputs or {"position": pl.Int64()})[:1]
        else:
            row = example_rows(self.view, self.view.function)[:1]
        took: list[float] = []
        started = time.perf_counter()
        while not took or (len(took) < _MEASURED_CALLS and time.perf_counter() - started < _MEASURED_FOR):
            before = time.perf_counter()
            with suppress(DataError):  # a made-up row may not suit an expression; refusing it costs about as much
                self.evaluate(row)
            took.append(time.perf_counter() - before)
        return statistics.median(took) * 1e6
