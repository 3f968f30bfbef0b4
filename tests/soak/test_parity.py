"""What lookups serve against what the join finds, for long."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SHORT = runpy.run_path(str(Path(__file__).parents[1] / "featurestore" / "test_offline_equals_online.py"))
HISTORIES = int(os.environ.get("PARITY_HISTORIES", "10000"))


@pytest.mark.soak
def test_ten_thousand_histories_of_keys_have_no_mismatch(tmp_path: Path) -> None:
    world = SHORT["World"](tmp_path)
    examples = -(-HISTORIES // SHORT["HISTORIES_OF_AN_EXAMPLE"])

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(steps=SHORT["STEPS"], seed=st.integers(0, 2**16))
    def check(steps: object, seed: int) -> None:
        world.check(steps, seed)

    try:
        check()
    finally:
        world.close()
    sys.stdout.write(f"\n{world.histories:,} histories, {world.values:,} values alike, rows by status: {world.seen}\n")
    assert world.histories >= HISTORIES
