"""What models predicted, and what came of it: logged and read in this process, as a server logs it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import pyarrow as pa

from featurestore.errors import InvalidRequestError
from featurestore.offline.intake.frames import to_table
from featurestore.serving.feedback import (
    OUTCOMES,
    PREDICTIONS,
    FeedbackLog,
    Kind,
    known_predictions,
    outcomes,
    predictions,
)
from featurestore.serving.feedback.rows import checked, from_frame
from featurestore.store.opened import Opened


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What was logged.

    Attributes:
        model: whose it is: ``churn@3``; of outcomes ``churn``.
        rows: predictions or outcomes that are on disk.
    """

    model: str
    rows: int


class Feedback(Opened):
    """Predictions and outcomes."""

    @cached_property
    def feedback(self) -> FeedbackLog:
        """What writes them, made when first used."""
        return FeedbackLog(self.config.path(self.config.serving.feedback_path))

    def log_predictions(self, model: str, rows: Any) -> Logged:
        """Log what a model predicted; it is on disk when this returns.

        Args:
            model: ``churn@3``; without a version it is the newest.
            rows: dicts, one a prediction, or a frame. ``prediction_id`` and either ``number`` (of a regression, or the
                score of a binary classification) or ``label``; where they are known ``request_id`` and ``row`` (of the
                lookup that the features came from), ``probabilities`` (a dict by label) and ``predicted_at`` (now when
                not given).

        Raises:
            ObjectNotFoundError: there is no such model.
            DataError: these are no rows.
            InvalidRequestError: a prediction cannot be one; the error names the row and the field.
            OfflineStoreError: the disk refuses.
        """
        return self._log_feedback(PREDICTIONS, model, rows)

    def log_outcomes(self, model: str, rows: Any) -> Logged:
        """Log what came of predictions; it is on disk when this returns.

        Args:
            model: the model's name; a version is allowed and says nothing.
            rows: dicts, one an outcome, or a frame. ``prediction_id`` and either ``number`` or ``label``; ``metric``
                for what is not the predicted value itself but one of the business (``revenue``), and ``observed_at``
                (now when not given).

        Raises:
            ObjectNotFoundError: there is no such model.
            DataError: these are no rows.
            InvalidRequestError: an outcome cannot be one; the error names the row and the field.
            OfflineStoreError: the disk refuses.
        """
        return self._log_feedback(OUTCOMES, model, rows)

    def predictions(self, model: str, start: datetime | None = None, end: datetime | None = None) -> pa.Table:
        """Return what a model predicted from ``start`` on and before ``end``, each prediction once.

        Of several with one id the first that arrived counts. See
        :func:`featurestore.serving.feedback.reading.predictions`.

        Raises:
            ObjectNotFoundError: there is no such model.
            TimestampError: an instant names no time zone.
            OfflineStoreError: a file cannot be read.
        """
        found = self.registry.model(model)
        return predictions(self._feedback_folder, found.id if "@" in model else found.name, start, end)

    def outcomes(
        self, model: str, start: datetime | None = None, end: datetime | None = None, *, every: bool = False
    ) -> pa.Table:
        """Return what came of predictions, observed from ``start`` on and before ``end``, each outcome once.

        Of several for one prediction and metric the one observed last counts; with ``every`` the others are there, too.
        See :func:`featurestore.serving.feedback.reading.outcomes`.

        Raises:
            ObjectNotFoundError: there is no such model.
            TimestampError: an instant names no time zone.
            OfflineStoreError: a file cannot be read.
        """
        return outcomes(self._feedback_folder, self.registry.model(model).name, start, end, every=every)

    def known_predictions(self, model: str, ids: pa.Array) -> pa.Array:
        """Return those of some ids under which any version of a model predicted at any time.

        Raises:
            ObjectNotFoundError: there is no such model.
            OfflineStoreError: a file cannot be read.
        """
        return known_predictions(self._feedback_folder, self.registry.model(model).name, ids)

    @property
    def _feedback_folder(self) -> Any:
        return self.config.path(self.config.serving.feedback_path)

    def _instant(self) -> int:
        """Return the present instant, microseconds since 1970: the world's, or a rehearsal's."""
        clock = self.online.clock() if self.config.replay else time.time_ns() // 1000
        if clock is None:
            raise InvalidRequestError(
                f'The clock of rehearsal "{self.config.replay}" does not stand anywhere yet.',
                hint="Hold it first: featurestore serve --replay NAME --clock INSTANT",
            )
        return clock

    def _log_feedback(self, kind: Kind, model: str, rows: Any) -> Logged:
        found = self.registry.model(model)
        table = from_frame(kind, to_table(rows, f"the {kind.name}"))
        now = self._instant()
        written = self.feedback.add(kind, found.name, checked(kind, table, found, now=now)).result()
        return Logged(model=found.id if kind is PREDICTIONS else found.name, rows=written)
