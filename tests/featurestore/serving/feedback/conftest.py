"""A model, and rows about it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from featurestore.registry.records import ModelRecord
from featurestore.serving.feedback import Kind
from featurestore.serving.feedback.rows import checked, from_frame

NOW = datetime(2024, 5, 1, 12, tzinfo=UTC)
NOW_US = int(NOW.timestamp()) * 1_000_000


class Rows:
    """Makes rows as they are stored."""

    now = NOW
    now_us = NOW_US

    def model(self, version: int = 3) -> ModelRecord:
        nothing: dict[str, Any] = {}
        return ModelRecord(
            name="churn",
            version=version,
            service="scoring@1",
            dataset="sales@1",
            hyperparameters=nothing,
            metrics=nothing,
            feature_importances=nothing,
            environment={},
            git_commit="",
            created_at=NOW,
            created_by="tests",
        )

    def __call__(self, kind: Kind, *rows: dict[str, Any], version: int = 3) -> pa.Table:
        names = dict.fromkeys(name for row in rows for name in row)
        given = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names})
        return checked(kind, from_frame(kind, given), self.model(version), now=NOW_US)


@pytest.fixture
def rows() -> Rows:
    return Rows()
