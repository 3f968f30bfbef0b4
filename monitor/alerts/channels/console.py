"""The terminal, or the service manager's journal: one readable block a message."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Console as Terminal
from rich.text import Text

from featurestore.settings.channels import ConsoleConfig
from monitor.alerts.base import Kind, Message, Outcome, Status

_COLOURS = {Kind.FIRING: "bold red", Kind.RESOLVED: "bold green", Kind.RETRAINING: "bold yellow"}
_TITLES = {Kind.FIRING: "ALERT", Kind.RESOLVED: "RESOLVED", Kind.RETRAINING: "RETRAINING SIGNAL"}
_SHOWN_FEATURES = 6


class Console:
    """Prints each message on standard error.

    Args:
        name: the channel's name in ``featurestore.toml``.
        config: its section.
        terminal: where to print; standard error when not given.
    """

    def __init__(self, name: str, config: ConsoleConfig, terminal: Terminal | None = None) -> None:
        self.name = name
        self.rehearsals = config.rehearsals
        self._terminal = terminal if terminal is not None else Terminal(stderr=True, highlight=False)

    def close(self) -> None:
        """There is nothing to release."""

    def deliver(self, message: Message, *, now: datetime) -> Outcome:  # noqa: ARG002 - the protocol's signature
        """Print the message; see :class:`monitor.alerts.base.Channel`."""
        title, *rest = block(message)
        try:
            self._terminal.print(Text(title, style=_COLOURS[message.kind]), soft_wrap=True)
            for line in rest:
                self._terminal.print(Text(line), soft_wrap=True)
        except (OSError, ValueError) as error:  # a closed pipe, a closed file
            return Outcome(Status.RETRY, f"the terminal cannot be written: {error}")
        return Outcome(Status.DELIVERED)


def block(message: Message) -> list[str]:
    """Return the lines of the block; the first says what, where, how bad and what to do."""
    payload = message.payload
    said = payload["reason"] if message.kind is Kind.RETRAINING else payload["summary"]
    lines = [f"{_TITLES[message.kind]}  {said}"]
    if payload.get("onset"):
        lines.append(f"  since     {payload['onset']}")
    if payload.get("evidence"):
        lines.append(f"  evidence  {_evidence(payload['evidence'])}")
    reasons = payload.get("reasons", [])[:_SHOWN_FEATURES]
    lines.extend(f"  {'found   ' if not place else '        '}  {reason}" for place, reason in enumerate(reasons))
    features = payload["features"]
    lines.extend(
        f"  {'moved   ' if not place else '        '}  {_feature(features[place])}"
        for place in range(len(features))[:_SHOWN_FEATURES]
    )
    if len(features) > _SHOWN_FEATURES:
        lines.append(f"            and {len(features) - _SHOWN_FEATURES} more")
    lines.append(f"  baseline  {payload['baseline']}" + (f", model {payload['model']}" if payload.get("model") else ""))
    if payload.get("suggestedAction"):
        lines.append(f"  do        {payload['suggestedAction']}")
    lines.append(f"  incident  {message.incident}")
    return lines


def _evidence(evidence: dict[str, Any]) -> str:
    return (
        f"ln {float(evidence['logValue']):.2f} against a limit of ln {float(evidence['logLimit']):.2f} "
        f"after {evidence['windows']} windows"
    )


def _feature(finding: dict[str, Any]) -> str:
    text = (
        f"{finding['feature']}: {finding['statistic']} {float(finding['effect']):.2f} "
        f"[{float(finding['effectLow']):.2f}, {float(finding['effectHigh']):.2f}], threshold {finding['threshold']:g}"
    )
    if "baselineMean" in finding and "currentMean" in finding:
        text += f"; mean {float(finding['baselineMean']):.4g} -> {float(finding['currentMean']):.4g}"
    before, after = float(finding["baselineNullRate"]), float(finding["currentNullRate"])
    return text + (f"; null {before:.1%} -> {after:.1%}" if before or after else "")
