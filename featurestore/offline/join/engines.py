"""What joins: DuckDB in this process, or Apache Spark; the same answer, to the byte and in the same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import pyarrow as pa

from featurestore.config import Config
from featurestore.offline.join.answering import answer
from featurestore.offline.join.explanation import Explanation
from featurestore.offline.join.question import Question
from featurestore.offline.spark.engine import SparkEngine


class JoinEngine(Protocol):
    """Answers a question."""

    def __call__(self, question: Question, explain: Callable[[Explanation], None], /) -> Iterator[pa.Table]:
        """Yield the answer's rows in order, part by part; there is always one, perhaps empty.

        Args:
            question: what is asked.
            explain: is told what was done, once all is.

        Raises:
            OfflineStoreError: a table cannot be read, or the engine cannot be had.
            DataError: an on-demand view cannot be computed for these values.
        """
        ...


def join_engine(config: Config) -> JoinEngine:
    """Return the engine that ``[offline]`` names.

    Raises:
        ConfigError: a secret that it needs is missing.
    """
    return SparkEngine(config.spark()) if config.offline.engine == "spark" else answer
