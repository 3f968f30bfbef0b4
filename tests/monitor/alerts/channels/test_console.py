"""The block that the console prints."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from rich.console import Console as Terminal

from featurestore.settings.channels import ConsoleConfig
from monitor.alerts.base import Kind, Message
from monitor.alerts.channels.console import Console, block

_NOW = datetime(2026, 5, 1, tzinfo=UTC)


def _message(features: int) -> Message:
    finding = {
        "feature": "temp",
        "statistic": "kolmogorov_smirnov",
        "effect": 0.71,
        "effectLow": 0.48,
        "effectHigh": 0.94,
        "threshold": 0.1,
        "baselineMean": 35.25,
        "currentMean": "NaN",
        "baselineNullRate": 0.0,
        "currentNullRate": 0.02,
    }
    payload = {
        "summary": "flight_delay@1 drifted: temp [red]",
        "onset": "2013-07-01T00:00:00Z",
        "evidence": {"logValue": 9.25, "logLimit": 7.68, "windows": 9},
        "features": [finding] * features,
        "baseline": "delays@1",
        "suggestedAction": "Retrain.",
    }
    return Message(
        key="m",
        kind=Kind.FIRING,
        project="default",
        service="flight_delay@1",
        incident="abc",
        created_at=_NOW,
        payload=payload,
    )


def test_the_first_line_says_what_it_is_about_and_text_in_brackets_is_not_styling() -> None:
    stream = io.StringIO()
    console = Console("here", ConsoleConfig(), Terminal(file=stream, width=40))
    console.deliver(_message(1), now=_NOW)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "ALERT  flight_delay@1 drifted: temp [red]"
    assert "  evidence  ln 9.25 against a limit of ln 7.68 after 9 windows" in lines
    assert (
        "  moved     temp: kolmogorov_smirnov 0.71 [0.48, 0.94], threshold 0.1; mean 35.25 -> nan; null 0.0% -> 2.0%"
    ) in lines
    assert "  do        Retrain." in lines


def test_a_storm_of_features_stays_short() -> None:
    lines = block(_message(10_000))
    assert len(lines) < 15
    assert "            and 9994 more" in lines
