"""What belongs together, and what is no news beside a fault."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from monitor.alerts.grouping import INHIBITED, INHIBITING, OF_SOURCES, Faults, Subject, affected, group_of
from monitor.alerts.incident_state import Incident, Member
from monitor.alerts.incidents import joined, opened
from monitor.alerts.states import State

_NOW = datetime(2013, 7, 1, tzinfo=UTC)
_SOURCES = {
    "temp": ("weather",),
    "dewp": ("weather",),
    "carrier": ("flights",),
    "delay_in_rain": ("flights", "weather"),
    "vector": ("weather",),
}


def subject(rule: str = "null spike", features: Sequence[str] = ("temp",), **about: str) -> Subject:
    values = {"project": "default", "service": "flight_delay@1", "model": "ridge@1"} | about
    return Subject(rule=rule, features=features, sources=_SOURCES, **values)  # type: ignore[arg-type]


def incident(about: Subject, *, firing: bool = True) -> Incident:
    member = Member(
        alert=f"{about.service} {about.rule} {about.slice}",
        episode=1,
        policy="flights",
        service=about.service,
        rule=about.rule,
        slice=about.slice,
        features=tuple(about.features),
        joined_at=_NOW,
        firing=firing,
        state=State.FIRING if firing else State.RESOLVED,
    )
    return joined(opened(group_of(about, ()), episode=1, now=_NOW), member)


def test_features_of_one_broken_source_are_one_incident_that_names_it() -> None:
    groups = {
        group_of(one, ())
        for one in (
            subject(),
            subject(features=("dewp", "temp")),
            subject("stale_features", ("dewp",)),
            subject(service="other@1", model="other@1"),
            subject(slice="carrier=AA"),
            subject(features=("vector.norm",)),
        )
    }
    assert [one.cause for one in groups] == ["source weather"]


def test_what_no_one_source_explains_belongs_to_the_model_or_else_the_service() -> None:
    assert group_of(subject(features=("temp", "carrier")), ()).cause == "model ridge@1"
    assert group_of(subject(features=("temp", "unknown")), ()).cause == "model ridge@1"
    assert group_of(subject(features=()), ()).cause == "model ridge@1"
    assert group_of(subject("drift"), ()).cause == "model ridge@1"
    assert group_of(subject("volume_drop", ()), ()).cause == "model ridge@1"
    assert group_of(subject("training_serving_skew"), ()).cause == "model ridge@1"
    assert group_of(subject("drift", model=""), ()).cause == "service flight_delay@1"


def test_groups_of_projects_and_rehearsals_are_their_own() -> None:
    groups = [group_of(subject(**about), ()) for about in ({}, {"project": "other"}, {"replay": "july"})]
    assert len({one.key for one in groups}) == 3
    assert {one.cause for one in groups} == {"source weather"}


def test_a_feature_of_two_sources_belongs_to_the_one_that_is_known_to_be_broken() -> None:
    both = subject(features=("delay_in_rain",))
    assert group_of(both, ()).cause == "model ridge@1"
    assert group_of(both, [incident(subject(features=("carrier",)))]).cause == "source flights"
    assert group_of(both, [incident(subject())]).cause == "source weather"


def test_what_drifts_because_of_a_fault_belongs_to_the_faults_incident() -> None:
    fault = incident(subject(features=("temp", "dewp")))
    drift = subject("drift", ("dewp",))
    assert group_of(drift, [fault]).key == fault.group
    assert group_of(replace(drift, features=("dewp", "carrier")), [fault]).cause == "model ridge@1"
    assert group_of(drift, [incident(subject(features=("temp", "dewp")), firing=False)]).cause == "model ridge@1"


@pytest.mark.parametrize(
    ("fault", "follows"),
    [
        ({}, True),
        ({"rule": "stale_features"}, True),
        ({"rule": "schema_change"}, True),
        ({"rule": "type_change"}, True),
        ({"rule": "training_serving_skew"}, False),
        ({"rule": "drift"}, False),
        ({"features": ("dewp",)}, False),
        ({"service": "flight_delay@2"}, False),
        ({"slice": "carrier=AA"}, False),
    ],
)
def test_a_fault_mutes_the_drift_of_the_same_feature_of_the_same_rows(fault: dict[str, str], follows: bool) -> None:
    drift = incident(subject("drift")).members[0]
    assert bool(Faults([incident(subject(**fault))]).inhibits(drift)) == follows


def test_a_fault_of_all_rows_mutes_its_slices_and_one_of_a_slice_that_slice() -> None:
    drift = incident(subject("drift", slice="carrier=AA")).members[0]
    assert Faults([incident(subject())]).inhibits(drift)
    assert Faults([incident(subject(slice="carrier=AA"))]).inhibits(drift)
    assert not Faults([incident(subject(slice="carrier=UA"))]).inhibits(drift)


def test_faults_together_mute_what_neither_does_alone() -> None:
    drift = incident(subject("drift", ("temp", "carrier", "vector.mean"))).members[0]
    faults = [incident(subject(features=("temp", "vector.norm"))), incident(subject("type_change", ("carrier",)))]
    assert not Faults(faults[:1]).inhibits(drift)
    assert [one.rule for one in Faults(faults).inhibits(drift)] == ["null spike", "type_change"]


def test_a_fault_is_never_muted_and_what_is_about_no_feature_neither() -> None:
    faults = Faults([incident(subject())])
    assert not faults.inhibits(incident(subject()).members[0])
    assert not faults.inhibits(incident(subject("performance", ())).members[0])
    assert not INHIBITED & INHIBITING
    assert INHIBITING <= OF_SOURCES


def test_a_finding_names_the_features_that_it_is_about() -> None:
    views = {"temp": ("weather",), "delay": ("flights",), "delay_in_rain": ("flights", "weather")}
    assert affected("feature", "temp", (), views) == ("temp",)
    assert affected("column", "delay", (), views) == ("delay",)
    assert affected("column", "surplus", (), views) == ()
    assert affected("view", "weather", ("weather",), views) == ("temp", "delay_in_rain")
    assert affected("view", "weather_at_origin", ("weather",), views) == ("temp", "delay_in_rain")
    assert affected("service", "flight_delay@1", (), views) == ()
