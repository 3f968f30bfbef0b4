"""Silences: alerts that somebody wants to hear nothing of, for some time, for a reason that others can read.

Pure. What a silence is about is said by matchers, as on-call systems have them: ``rule=drift``, ``service=~flight.*``.
Regular expressions are RE2's, which cannot take longer than their text is long, and match the whole value.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.errors import MonitorError, closest
from monitor.alerts.incident_state import SEVERITIES, Member

#: What can be matched.
FIELDS = ("policy", "service", "rule", "slice", "feature", "severity", "incident")

#: The longest silence: what nobody wants to hear of for longer is a rule that nobody wants.
LONGEST = timedelta(days=366)

_OPERATORS = ("=", "!=", "=~", "!~")
_WRITTEN = re.compile(r"\s*(\w*)\s*(=~|!=|!~|=)(.*)", re.DOTALL)
_LONGEST_VALUE = 1_000
_EXAMPLE = 'Write FIELD=VALUE, FIELD!=VALUE or FIELD=~REGEX: "rule=drift", "feature=~temp.*", "incident=12".'


@dataclass(frozen=True)
class Matcher:
    """One condition on an alert; its text, ``str(matcher)``, is what is kept of it.

    Attributes:
        field: one of :data:`FIELDS`.
        operator: ``=``, ``!=``, or ``=~`` and ``!~`` for a regular expression.
        value: what the field is compared with; an alert has the slice ``""`` where it is about all rows, and the
            feature ``""`` where it is about none.

    Raises:
        MonitorError: there is no such field or operator, or the value is no regular expression.
    """

    field: str
    operator: str
    value: str

    def __post_init__(self) -> None:
        if self.field not in FIELDS:
            raise MonitorError(
                f'Alerts have no "{self.field}" that can be matched.',
                hint=closest(self.field, FIELDS) or f"They have {', '.join(FIELDS)}.",
            )
        if self.operator not in _OPERATORS:
            raise MonitorError(f'"{self.operator}" compares nothing.', hint=f"It is one of {', '.join(_OPERATORS)}.")
        if len(self.value) > _LONGEST_VALUE:
            raise MonitorError(
                f'The value that "{self.field}" is compared with has {len(self.value):,} letters.',
                hint=f"It may have {_LONGEST_VALUE:,}.",
            )
        if self._regular:
            try:
                self.matches([""])
            except pa.ArrowInvalid as error:
                # Of the value as it was typed: RE2 may blame what we put around it.
                reason = (_fault_of(self.value) or str(error)).removeprefix("Invalid regular expression: ")
                raise MonitorError(
                    f'"{self.value}" is no regular expression: {reason}.', hint="RE2's syntax is meant."
                ) from None
        elif self.value.startswith("~"):
            # Its text would be that of another matcher.
            raise MonitorError(f'"{self.field}" cannot be compared with "{self.value}".', hint=_EXAMPLE)
        elif self.field == "severity" and self.value not in SEVERITIES:
            raise MonitorError(
                f'There is no severity "{self.value}".',
                hint=closest(self.value, SEVERITIES) or f"It is one of {', '.join(SEVERITIES)}.",
            )

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{self.value}"

    def matches(self, values: Sequence[str]) -> list[bool]:
        """Return for each value whether it fulfils the condition."""
        if self._regular:
            pattern = rf"\A(?:{self.value})\z"
            found = pc.match_substring_regex(pa.array(values, pa.string()), pattern=pattern).to_pylist()
        else:
            found = [one == self.value for one in values]
        return [not one for one in found] if self.operator.startswith("!") else found

    @property
    def _regular(self) -> bool:
        return self.operator.endswith("~")


def _fault_of(pattern: str) -> str:
    """Return what is wrong with a pattern by itself, or ""."""
    try:
        pc.match_substring_regex(pa.array([""], pa.string()), pattern=pattern)
    except pa.ArrowInvalid as error:
        return str(error)
    return ""


@lru_cache(maxsize=1_000)
def parse(text: str) -> Matcher:
    """Return the matcher that a text says: ``feature=~temp.*``.

    Raises:
        MonitorError: it says none.
    """
    found = _WRITTEN.fullmatch(text)
    if found is None:
        raise MonitorError(f'"{text}" does not say what to match.', hint=_EXAMPLE)
    return Matcher(*found.groups())


@dataclass(frozen=True, kw_only=True)
class Silence:
    """One silence; :func:`new_silence` checks what people write.

    Attributes:
        id: its name for people and commands; 0 until the database has given one.
        matchers: all of them must match.
        starts_at: from when it holds.
        expires_at: until when; who ends it early moves this.
        author: who wants it.
        reason: why.
    """

    id: int = 0
    matchers: tuple[Matcher, ...]
    starts_at: datetime
    expires_at: datetime
    author: str
    reason: str

    def active(self, now: datetime) -> bool:
        """Return whether it holds at an instant."""
        return self.starts_at <= now < self.expires_at

    def covers(self, member: Member, incident: str) -> list[bool]:
        """Return for each feature of an alert whether its matchers match; of one about no feature, for the whole.

        Args:
            member: the alert.
            incident: the number of its incident, as text.
        """
        features = member.features or ("",)
        single = {
            "policy": member.policy,
            "service": member.service,
            "rule": member.rule,
            "slice": member.slice,
            "severity": member.severity,
            "incident": incident,
        }
        covered = [True] * len(features)
        for matcher in self.matchers:
            if matcher.field == "feature":
                covered = [a and b for a, b in zip(covered, matcher.matches(features), strict=True)]
            elif not matcher.matches([single[matcher.field]])[0]:
                return [False] * len(features)
        return covered


def new_silence(
    texts: Sequence[str], *, starts_at: datetime, expires_at: datetime, author: str, reason: str
) -> Silence:
    """Return a silence, checked.

    Args:
        texts: of its matchers.
        starts_at: from when it holds.
        expires_at: until when.
        author: who wants it.
        reason: why.

    Raises:
        MonitorError: it would match everything, has no end or none in time, or does not say who wants it and why.
    """
    matchers = tuple(dict.fromkeys(parse(one) for one in texts))
    if not matchers:
        raise MonitorError("A silence without matchers would be one of everything.", hint=_EXAMPLE)
    for value, missing in ((author, "who wants it"), (reason, "why")):
        if not value.strip():
            raise MonitorError(f"A silence says {missing}, and this one does not.")
    if not starts_at < expires_at:
        raise MonitorError(
            f"A silence from {starts_at:%Y-%m-%d %H:%M} to {expires_at:%Y-%m-%d %H:%M} is none.",
            hint="It ends after it begins.",
        )
    if expires_at - starts_at > LONGEST:
        raise MonitorError(
            f"A silence of {(expires_at - starts_at).days:,} days is too long.",
            hint=f"It lasts at most {LONGEST.days} days; change the policy, if nobody is ever to hear of it.",
        )
    return Silence(
        matchers=matchers, starts_at=starts_at, expires_at=expires_at, author=author.strip(), reason=reason.strip()
    )


def silenced_by(member: Member, incident: str, silences: Sequence[Silence], now: datetime) -> tuple[Silence, ...]:
    """Return the silences that together cover an alert at an instant; none if a part of it is not covered.

    An alert about several features is silenced when each of them is: of a silence of one feature nobody expects that
    it hides another.

    Args:
        member: the alert.
        incident: the number of its incident, as text.
        silences: all there are.
        now: the instant.
    """
    open_ = [True] * max(1, len(member.features))
    used: list[Silence] = []
    for silence in silences:
        if silence.active(now):
            covered = silence.covers(member, incident)
            if any(covered):
                used.append(silence)
                open_ = [a and not b for a, b in zip(open_, covered, strict=True)]
    return () if any(open_) else tuple(used)
