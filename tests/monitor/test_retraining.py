"""Retraining signals: idempotent, and complete enough to act on."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf import json_format

from featurestore.v1 import signals_pb2 as pb
from monitor.alerts.message import Context
from monitor.alerts.states import Alert, State
from monitor.decisions import Decision, FeatureFinding
from monitor.detector import Evidence
from monitor.retraining import retraining_signal, signal_id

_NOW = datetime(2026, 5, 1, tzinfo=UTC)


def _finding(feature: str, *, drifted: bool) -> FeatureFinding:
    return FeatureFinding(
        feature=feature,
        statistic="kolmogorov_smirnov",
        effect=0.71,
        effect_low=0.48,
        effect_high=0.94,
        threshold=0.1,
        baseline_null_rate=0.0,
        current_null_rate=0.01,
        baseline_mean=35.0,
        current_mean=None,
        baseline_rows=60_000,
        current_rows=9_000,
        log_evidence=9.0,
        moved=("over 50: 1.0% -> 70.0%",),
        verdict="drift" if drifted else "ok",
    )


def _signal(baseline: str = "delays@1", replay: str = "") -> dict[str, object]:
    evidence = Evidence(9.0, 7.7, 9, True, {"temp": 9.0}, _NOW)
    findings = (_finding("temp", drifted=True), _finding("humid", drifted=False))
    context = Context(
        project="default",
        replay=replay,
        service="flight_delay@1",
        baseline=baseline,
        model="ridge@1",
        views={"temp": "weather", "humid": "weather"},
    )
    decision = Decision(verdict="drift", evidence=evidence, findings=findings, onset=_NOW)
    return retraining_signal(context, decision, Alert(key="i", state=State.FIRING, episode=1), now=_NOW)


def test_the_same_cause_has_the_same_id_and_another_baseline_is_another_cause() -> None:
    first = signal_id("default", "flight_delay@1", "delays@1", "i")
    assert first == signal_id("default", "flight_delay@1", "delays@1", "i")
    assert first == _signal()["id"]
    assert first != _signal("delays@2")["id"]


def test_it_names_service_baseline_model_evidence_and_only_what_drifted() -> None:
    message = json_format.ParseDict(_signal(), pb.RetrainingSignal())
    assert (message.service, message.baseline, message.model) == ("flight_delay@1", "delays@1", "ridge@1")
    assert (message.evidence.log_value, message.evidence.log_limit, message.evidence.windows) == (9.0, 7.7, 9)
    assert [one.feature for one in message.features] == ["temp"]
    assert message.features[0].baseline_mean == 35.0
    assert not message.features[0].HasField("current_mean")
    assert message.reason == "flight_delay@1 is served other data than delays@1 has: temp (KS 0.71 [0.48, 0.94])"


def test_a_rehearsal_is_marked() -> None:
    signal = _signal(replay="july")
    assert signal["replay"] is True
    assert str(signal["reason"]).startswith("REPLAY july: ")
