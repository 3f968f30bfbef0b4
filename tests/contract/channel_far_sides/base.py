"""What the contract of channels needs of a kind's far side, and the messages that it sends there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from monitor.alerts.base import Channel, Kind, Message

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
#: The settings that every far side's channel has: the suite looks for them.
SETTINGS = {"rehearsals": True}


@dataclass(frozen=True, kw_only=True)
class FarSide:
    """A real counterpart of one kind of channel, on this machine.

    Attributes:
        channel: opened under the name "c", with rehearsals=True.
        arrived: how many messages have come; an edit of an earlier one is none.
        received: everything that went over, as one text.
        stop: ends it, for good.
        secrets: those of the channel's section.
        busy: makes the next answer "come back in so many seconds"; None where the kind has no such thing.
    """

    channel: Channel
    arrived: Callable[[], int]
    received: Callable[[], str]
    stop: Callable[[], None]
    secrets: tuple[str, ...] = ()
    busy: Callable[[int], None] | None = None


def message(kind: Kind, *, key: str = "msg_1", thread: str = "", latest: str = "", **changes: Any) -> Message:
    """Return a message as the monitor writes it, its payload changed as named."""
    return Message(
        key=key,
        kind=kind,
        project="default",
        service="f@1",
        incident="" if kind is Kind.TEST else "abc-1",
        created_at=NOW,
        payload=_PAYLOADS.get(kind, _alert(kind)) | changes,
        thread=thread,
        latest=latest,
    )


def finding(feature: str = "temp") -> dict[str, Any]:
    """Return what a message says of one feature."""
    return {
        "feature": feature,
        "statistic": "kolmogorov_smirnov",
        "effect": 0.71,
        "effectLow": 0.48,
        "effectHigh": 0.94,
        "threshold": 0.1,
        "baselineNullRate": 0.0,
        "currentNullRate": 0.02,
        "baselineMean": 35.25,
        "currentMean": "NaN",
        "baselineRows": "90000",
        "currentRows": "1000",
        "histogram": {
            "labels": [f"{number}" for number in range(10)],
            "baseline": [0.1] * 10,
            "current": [0.02 * number for number in range(10)],
        },
        "source": "weather_csv",
    }


_SAID = {
    Kind.FIRING: ("ALERT_STATE_FIRING", "ALERT_CHANGE_FIRED"),
    Kind.UPDATED: ("ALERT_STATE_FIRING", "ALERT_CHANGE_ESCALATED"),
    Kind.ACKNOWLEDGED: ("ALERT_STATE_FIRING", "ALERT_CHANGE_ACKNOWLEDGED"),
    Kind.RESOLVED: ("ALERT_STATE_RESOLVED", "ALERT_CHANGE_RESOLVED"),
}


def _alert(kind: Kind) -> dict[str, Any]:
    state, change = _SAID.get(kind, ("", ""))
    return {
        "incident": "abc-1",
        "name": "12",
        "state": state,
        "change": change,
        "summary": "f@1, null spike: temp is missing in 40 % of the rows; fix source weather_csv",
        "onset": "2026-05-01T11:00:00Z",
        "decidedAt": "2026-05-01T11:59:00Z",
        "evidence": {"logValue": 9.1, "logLimit": 7.7, "windows": 9},
        "features": [finding()],
        "baseline": "delays@1",
        "suggestedAction": "Fix the pipeline.",
        "rule": "null_spike",
        "severity": "page",
        "cause": "source weather_csv",
        "runbook": "https://runbooks.example.com/weather",
        "commands": [{"name": "acknowledge", "text": "featurestore monitor ack 12"}],
    }


_PAYLOADS: dict[Kind, dict[str, Any]] = {
    Kind.RETRAINING: {
        "id": "sig_1",
        "state": "SIGNAL_STATE_PENDING",
        "reason": "f@1 drifted in temp",
        "cause": "drift",
        "baseline": "delays@1",
        "evidence": {"logValue": 9.1, "logLimit": 7.7, "windows": 9},
        "features": [finding()],
        "expiresAt": "2026-05-08T12:00:00Z",
        "commands": [{"name": "approve", "text": "featurestore monitor approve sig_1"}],
    },
    Kind.RETRAINED: {
        "id": "sig_1",
        "state": "SIGNAL_STATE_DONE",
        "reason": "It helped: m@2 is better than m@1. accuracy: m@1 0.7 over 90 rows, m@2 0.9 over 90 rows",
        "cause": "drift",
        "baseline": "delays@1",
        "commands": [{"name": "signal", "text": "featurestore monitor signal sig_1"}],
    },
    Kind.ACTION: {
        "id": "act_1",
        "kind": "restore_load",
        "target": "view weather",
        "state": "ACTION_STATE_DONE",
        "summary": "The load of 11:00 of weather is unpublished; online rows are those of before",
        "at": "2026-05-01T12:00:00Z",
        "severity": "page",
        "commands": [{"name": "undo", "text": "featurestore monitor undo act_1"}],
    },
    Kind.TEST: {},
}
