"""Tests that users write: cases kept beside the definitions, run on a throw-away store.

from featurestore.testing import FeatureCase
"""

from __future__ import annotations

from featurestore.testing.cases import FeatureCase
from featurestore.testing.running import CaseResult, run_case

__all__ = ["CaseResult", "FeatureCase", "run_case"]
