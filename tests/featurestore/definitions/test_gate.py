"""A gate says what a load is compared in; a change of it is no new version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from featurestore.definitions import Entity, FeatureView, Field, LoadGate, content_hash, storage_id
from featurestore.errors import DefinitionError
from featurestore.types import Float64

VIEW = FeatureView(name="sales", entities=[Entity(name="shop")], schema=[Field(name="total", dtype=Float64)])


@pytest.mark.parametrize(
    "wrong",
    [
        {"on_anomaly": "stop"},
        {"rows": 0.5},
        {"nulls": 1.5},
        {"ranges": -0.1},
        {"distribution": float("nan")},
        {"nulls": True},
        {"history": 0},
        {"history": 2.0},
    ],
)
def test_what_cannot_be_is_refused_with_a_hint(wrong: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match=f"A load gate has {next(iter(wrong))}=") as refused:
        LoadGate(**wrong)
    assert refused.value.hint


def test_a_view_takes_nothing_else_for_a_gate() -> None:
    with pytest.raises(DefinitionError, match="has gate='reject'"):
        replace(VIEW, gate="reject")


@pytest.mark.parametrize("gate", [LoadGate(), LoadGate(on_anomaly="quarantine", rows=None, nulls=0.5, history=3)])
def test_a_gate_reads_back_and_changes_no_hash(gate: LoadGate) -> None:
    gated = replace(VIEW, gate=gate)
    assert FeatureView.from_spec(gated.spec(), gated.notes()) == gated
    assert content_hash(gated) == content_hash(VIEW)
    assert storage_id(gated) == storage_id(VIEW)
    assert ("gate" in gated.notes()) is (gate != LoadGate())
