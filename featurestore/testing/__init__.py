"""Tests that users write: cases kept beside the definitions, run on a throw-away store.

from featurestore.testing import FeatureCase

Names are loaded when they are used: pytest imports this package at every start, for its plugin, also where there is
nothing to do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from featurestore.testing.cases import FeatureCase as FeatureCase
    from featurestore.testing.running import CaseResult as CaseResult
    from featurestore.testing.running import run_case as run_case

_HOMES = {"CaseResult": "running", "FeatureCase": "cases", "run_case": "running"}

__all__ = ["CaseResult", "FeatureCase", "run_case"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
