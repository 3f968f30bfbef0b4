"""Payloads under a size."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from featurestore.v1 import signals_pb2 as pb
from monitor.alerts.base import Kind
from monitor.alerts.fitting import LARGEST, fitted, size
from tests.contract.channel_far_sides.base import finding, message


def _storm(features: int, members: int, reasons: int) -> dict[str, Any]:
    names = [f"feature_{number}" for number in range(features)]
    return {
        **message(Kind.FIRING).payload,
        "features": [finding(name) for name in names],
        "members": [{"alert": f"a{number}", "policy": "p", "features": names} for number in range(members)],
        "reasons": [f"reason {number}" for number in range(reasons)],
    }


def test_what_fits_stays_as_it_is() -> None:
    payload = message(Kind.FIRING).payload
    assert fitted(payload) == payload


def test_ten_thousand_features_become_a_message_that_counts_them() -> None:
    payload = _storm(10_000, 300, 10_000)
    made = fitted(payload)
    assert size(made) <= LARGEST
    for name, left_out in (("features", "featuresLeftOut"), ("members", "membersLeftOut")):
        assert made[name], name
        assert len(made[name]) + made[left_out] == len(payload[name])
    *first, last = made["reasons"]
    assert last == f"and {10_000 - len(first):,} more"
    assert made["features"][0]["histogram"] == payload["features"][0]["histogram"]
    assert not [one for one in made["features"][1:] if "histogram" in one]
    assert all(len(one["features"]) + one["featuresLeftOut"] == 10_000 for one in made["members"])
    assert {name: made[name] for name in ("commands", "summary", "incident")} == {
        name: payload[name] for name in ("commands", "summary", "incident")
    }


def test_what_is_left_out_twice_is_counted_once_and_again() -> None:
    once = fitted(_storm(1_000, 50, 0), 60_000)
    again = fitted(once, 20_000)
    assert size(again) <= 20_000
    assert len(again["features"]) + again["featuresLeftOut"] == 1_000
    assert len(again["members"]) + again["membersLeftOut"] == 50


def test_a_fitted_payload_is_still_the_message_of_the_contract() -> None:
    parsed = json_format.ParseDict(fitted(_storm(3_000, 40, 5), 30_000), pb.Alert())
    assert len(parsed.features) + parsed.features_left_out == 3_000


def test_what_a_machine_acts_by_is_never_cut() -> None:
    query = "SELECT " + ", ".join(f"column_{number}" for number in range(3_000))
    signal = {"id": "s", "features": [finding()] * 500, "request": {"entityRows": query, "hash": "h"}}
    made = fitted(signal, 5_000)
    assert made["request"] == signal["request"]
    assert (made["features"], made["featuresLeftOut"]) == ([], 500)


@given(st.integers(0, 60), st.integers(0, 10), st.integers(0, 30), st.integers(2_500, 40_000))
def test_nothing_is_lost_uncounted_at_any_size(features: int, members: int, reasons: int, limit: int) -> None:
    payload = _storm(features, members, reasons)
    made = fitted(payload, limit)
    assert size(made) <= limit or size(payload) <= limit
    assert len(made["features"]) + made.get("featuresLeftOut", 0) == features
    assert len(made["members"]) + made.get("membersLeftOut", 0) == members
    assert made["features"] == [
        {key: value for key, value in one.items() if key in kept}
        for one, kept in zip(payload["features"], made["features"], strict=False)
    ]


@pytest.mark.parametrize("text", ["\N{FIRE}" * 100, 'quote " and \\', "ä" * 100])
def test_the_size_is_that_of_any_way_to_write_it(text: str) -> None:
    for ascii_only in (True, False):
        written = json.dumps({"summary": text}, ensure_ascii=ascii_only, separators=(",", ":"))
        assert len(written.encode()) <= size({"summary": text})
