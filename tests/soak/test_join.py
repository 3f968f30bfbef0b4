"""The point-in-time join against brute force, for long."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings

ORACLE = Path(__file__).parents[1] / "featurestore" / "offline" / "join" / "test_join_oracle.py"


def oracle() -> ModuleType:
    """Load the short form's module: tests are no package."""
    spec = importlib.util.spec_from_file_location("join_oracle", ORACLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.soak
def test_ten_thousand_random_joins_agree_with_brute_force() -> None:
    module = oracle()
    done = 0

    @settings(max_examples=10_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(case=module.CASES)
    def check(case: object) -> None:
        nonlocal done
        module.check(case)
        done += 1

    check()
    sys.stdout.write(f"\nrandom joins that agree with brute force: {done:,}\n")
    assert done >= 10_000
