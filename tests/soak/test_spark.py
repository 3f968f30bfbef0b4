"""The point-in-time join on Apache Spark against brute force, for long."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SHORT = Path(__file__).parents[1] / "featurestore" / "offline" / "test_spark.py"
#: Cases that one job answers.
CASES = 500


def _short() -> ModuleType:
    """Load the short form's module: tests are no package."""
    spec = importlib.util.spec_from_file_location("spark_tests", SHORT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


SPARK = _short()


@pytest.mark.soak
def test_ten_thousand_random_joins_on_spark_agree_with_brute_force(spark_cluster: Any, tmp_path: Path) -> None:
    done = 0
    asked = [(None, None), (2, None), (None, "row"), (1, "row"), (4, "row")]
    for number, first in enumerate(range(1000, 1000 + 10_000, CASES)):
        as_of, known_at = asked[number % len(asked)]
        folder = tmp_path / str(number)
        folder.mkdir()
        question, expected = SPARK.batch(range(first, first + CASES), folder, as_of=as_of, known_at=known_at)
        SPARK.check_batch(question, expected, SPARK.SparkEngine(spark_cluster))
        done += CASES
    sys.stdout.write(f"\nrandom joins on Spark that agree with brute force: {done:,}, each for three views\n")
    assert done == 10_000
