"""A message -> the lines that people read: the one place for all channels.

Pure, and plain text: a channel puts the lines into its own markup and escapes them there. A line never holds a line
break or another control character, whatever a category or an error says, so none of them can forge a header.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from monitor.alerts.base import OF_INCIDENTS, OF_SIGNALS, Kind, Message
from monitor.alerts.lines import keeping_the_end, plain, shortened
from monitor.alerts.phrases import evidence, found, instant
from monitor.alerts.templates import Template

__all__ = ["Limits", "Template", "Words", "plain", "rows", "severity_of", "shortened", "values", "words"]

#: For colours.
Tone = Literal["bad", "warning", "good", "neutral"]

_CHANGES = {
    "ALERT_CHANGE_ALERT_ADDED": "more is wrong",
    "ALERT_CHANGE_REPEATED": "still firing",
    "ALERT_CHANGE_ESCALATED": "escalated",
}
_STATES = {"ALERT_STATE_NO_DATA": "NO DATA", "ALERT_STATE_ERROR": "ERROR"}
_SIGNALS: Mapping[str, tuple[str, Tone]] = {
    "SIGNAL_STATE_PENDING": ("RETRAIN? Approval is wanted", "warning"),
    "SIGNAL_STATE_APPROVED": ("RETRAIN", "warning"),
    "SIGNAL_STATE_REJECTED": ("RETRAINING REJECTED", "neutral"),
    "SIGNAL_STATE_EXPIRED": ("RETRAINING EXPIRED", "neutral"),
    "SIGNAL_STATE_ACCEPTED": ("RETRAINING ACCEPTED", "neutral"),
    "SIGNAL_STATE_RUNNING": ("RETRAINING RUNS", "neutral"),
    "SIGNAL_STATE_DONE": ("RETRAINING DONE", "good"),
    "SIGNAL_STATE_FAILED": ("RETRAINING FAILED", "bad"),
    "SIGNAL_STATE_WITHDRAWN": ("RETRAINING WITHDRAWN", "neutral"),
}
_ACTIONS: Mapping[str, tuple[str, Tone]] = {
    "ACTION_STATE_PROPOSED": ("ACTION PROPOSED", "warning"),
    "ACTION_STATE_DONE": ("ACTION DONE", "warning"),
    "ACTION_STATE_FAILED": ("ACTION FAILED", "bad"),
    "ACTION_STATE_UNDONE": ("ACTION UNDONE", "neutral"),
}
_TONES: Mapping[str, Tone] = {"page": "bad", "ticket": "warning"}
_TESTED = "messages arrive here. Nothing is wrong, and there is nothing to do."
_REHEARSED = re.compile(r"REPLAY [A-Za-z0-9_.-]+: ")
_CUT = "\N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a channel shows, in characters: of each line, and of all of :meth:`Words.text`; and how many lines.

    Attributes:
        blocks: whether lines of blocks stand for the picture; one that shows the picture has no use for them.
    """

    subject: int = 150
    first: int = 300
    line: int = 300
    lines: int = 24
    facts: int = 12
    commands: int = 6
    text: int = 4_000
    blocks: bool = True


@dataclass(frozen=True, kw_only=True)
class Words:
    """What people read.

    Attributes:
        title: what has happened: ``PAGE 12``, ``PAGE 12, still firing``, ``ACKNOWLEDGED 12 by ada``, ``RETRAIN``.
        tone: for a colour.
        subject: short; of one incident the same from its first message to its last, as mail programs thread by it.
        first: what, where, how bad and what to do, the title in front; of a rehearsal, marked before that.
        lines: what was found, an item a line.
        facts: what there is to know beside it, with its label; what to do comes first.
        commands: what can be done from a terminal: its name and what to type.
        limit: characters of :meth:`text`.
    """

    title: str
    tone: Tone
    subject: str
    first: str
    lines: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    commands: tuple[tuple[str, str], ...] = ()
    limit: int = Limits.text

    def text(self) -> str:
        """Return all of it; what does not fit the limit is left out from the lines, then from the end."""
        head, tail = [self.first, *rows(self.facts)], rows(self.commands)
        lines = [f"  {line}" for line in self.lines]
        room = self.limit - sum(len(line) + 1 for line in (*head, *tail))
        kept = _with_room(lines, room)
        if len(kept) < len(lines):
            # Its own line has at most as many characters as with the largest number in it.
            kept = _with_room(lines, room - len(_rest(len(lines))) - 1)
            kept.append(_rest(len(lines) - len(kept)))
        text = "\n".join((*head, *kept, *tail))
        return text if len(text) <= self.limit else text[: self.limit - 1] + _CUT


def rows(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """Return labels and what belongs to them as lines of two columns."""
    width = max((len(label) for label, _ in pairs), default=0)
    return [f"  {label:<{width}}  {value}" for label, value in pairs]


def words(message: Message, limits: Limits | None = None, template: Template | None = None) -> Words:
    """Return what people read of a message.

    Args:
        message: of any kind; what its payload lacks is left out.
        limits: the channel's.
        template: the channel's own texts. Its ``template`` takes the place of the first line, the lines, the facts and
            the commands; the mark of a rehearsal stays in front.
    """
    limits = Limits() if limits is None else limits
    mark, said = _said(message)
    title, tone = _title(message)
    ours = Words(
        title=shortened(title, limits.subject),
        tone=tone,
        subject=shortened(mark + _subject(message), limits.subject),
        first=keeping_the_end(f"{mark}{title}: {said}", limits.first),
        lines=_clipped(found(message.payload, blocks=limits.blocks), limits),
        facts=_facts(message, limits),
        commands=tuple(
            (plain(command["name"]), plain(command["text"]))
            for command in message.payload.get("commands", ())[: limits.commands]
            # A command that is cut is another command.
            if len(command["text"]) <= limits.line
        ),
        limit=limits.text,
    )
    return ours if template is None else _templated(ours, template, message, limits, mark)


def _templated(ours: Words, template: Template, message: Message, limits: Limits, mark: str) -> Words:
    given = values(message, ours)
    subject, body = template.subject(given), template.body(given)
    if subject is not None:
        ours = replace(ours, subject=shortened(_marked(subject, mark), limits.subject))
    if body is None:
        return ours
    first, *rest = _marked(body, mark).strip().split("\n")
    return replace(
        ours,
        first=shortened(first, limits.first),
        # Empty lines are the writer's paragraphs.
        lines=tuple(shortened(line, limits.line) for line in rest),
        facts=(),
        commands=(),
    )


def _marked(text: str, mark: str) -> str:
    return text if text.startswith(mark) else mark + text


def values(message: Message, ours: Words) -> dict[str, str]:
    """Return what a template may name, all of :data:`monitor.alerts.templates.NAMES`.

    Args:
        message: what is said.
        ours: our own words for it.
    """
    payload = message.payload
    return {
        "acknowledged_by": plain(payload.get("acknowledgedBy", "")),
        "action": plain(payload.get("suggestedAction", "")),
        "baseline": plain(payload.get("baseline", "")),
        "cause": plain(payload.get("cause", "")),
        "commands": "\n".join(rows(ours.commands)),
        "evidence": evidence(payload.get("evidence") or {}),
        "facts": "\n".join(rows(ours.facts)),
        "features": plain(", ".join(one.get("feature", "") for one in payload.get("features", ())[:_NAMED])),
        "findings": "\n".join(ours.lines),
        "first": ours.first,
        "incident": message.incident,
        "kind": str(message.kind),
        "model": plain(payload.get("model", "")),
        "name": plain(payload.get("name", "")),
        "project": message.project,
        "rule": plain(payload.get("rule", "").replace("_", " ")),
        "runbook": plain(payload.get("runbook", "")),
        "service": message.service,
        "severity": severity_of(message),
        "since": instant(payload.get("onset") or ""),
        "slice": plain(payload.get("slice", "")),
        "state": plain(payload.get("state", "").partition("_STATE_")[2].replace("_", " ").lower()),
        "subject": ours.subject,
        "summary": plain(_said(message)[1]),
        "text": ours.text(),
        "title": ours.title,
    }


_NAMED = 20


def _said(message: Message) -> tuple[str, str]:
    """Return the mark of a rehearsal, ``REPLAY july: `` or "", and what the message says in one line."""
    payload = message.payload
    said = str(payload.get("reason" if message.kind in OF_SIGNALS else "summary") or "")
    if message.kind is Kind.TEST:
        said = said or _TESTED
    mark = "REPLAY: " if payload.get("replay") else ""
    marked = _REHEARSED.match(said)
    if marked:
        mark, said = marked[0], said[marked.end() :]
    if message.kind is Kind.RETRAINING and message.service not in said:
        # A person's reason need not name what the new model is for.
        said = f"{message.service}, {said}" if said else ""
    return mark, said or message.service


def _title(message: Message) -> tuple[str, Tone]:
    payload, kind = message.payload, message.kind
    state = payload.get("state", "")
    if kind is Kind.RETRAINED:
        return "RETRAINED", "neutral"
    if kind is Kind.RETRAINING:
        return _SIGNALS.get(state, ("RETRAIN", "warning"))
    if kind is Kind.ACTION:
        return _ACTIONS.get(state, ("ACTION", "warning"))
    if kind is Kind.TEST:
        return "TEST", "neutral"
    number = f" {payload['name']}" if payload.get("name") else ""
    if kind is Kind.RESOLVED:
        # Nobody has seen that it is over: it is watched no more, or somebody said so.
        closed = payload.get("change") == "ALERT_CHANGE_CLOSED"
        return (f"CLOSED{number}", "neutral") if closed else (f"RESOLVED{number}", "good")
    if kind is Kind.ACKNOWLEDGED:
        who = payload.get("acknowledgedBy", "")
        return f"ACKNOWLEDGED{number}" + (f" by {who}" if who else ""), "neutral"
    severity = severity_of(message)
    remarks = filter(None, (_STATES.get(state), _CHANGES.get(payload.get("change", ""))))
    return ", ".join((f"{severity.upper()}{number}", *remarks)), _TONES.get(severity, "neutral")


def severity_of(message: Message) -> str:
    """Return ``page``, ``ticket`` or ``info``: as the payload has it, else the message."""
    return str(message.payload.get("severity") or message.severity)


def _subject(message: Message) -> str:
    """Return a subject that stays as it is while an incident, a signal or an action lasts.

    An incident's alerts come and go, and its severity with them, so neither is in it.
    """
    payload = message.payload
    if message.kind is Kind.TEST:
        return "TEST: messages arrive here"
    if message.kind in OF_SIGNALS:
        cause = str(payload.get("cause", "")).replace("_", " ")
        return f"RETRAIN {message.service}" + (f": {cause}" if cause else "")
    if message.kind is Kind.ACTION:
        what = f"{payload.get('kind', '').replace('_', ' ')} {payload.get('target', '')}".strip()
        return f"ACTION {message.service}" + (f": {what}" if what else "")
    what = payload.get("cause") or message.service
    return f"Incident {payload['name']}: {what}" if payload.get("name") else f"Incident: {what}"


def _facts(message: Message, limits: Limits) -> tuple[tuple[str, str], ...]:
    payload, kind = message.payload, message.kind
    request = payload.get("request") or {}
    since, until = instant(request.get("since") or ""), instant(request.get("until") or "")
    facts = (
        ("do", payload.get("suggestedAction")),
        ("since", instant(payload.get("onset") or "")),
        ("cause", payload.get("cause") if kind in OF_INCIDENTS else ""),
        ("evidence", evidence(payload.get("evidence") or {})),
        ("baseline", payload.get("baseline")),
        ("model", payload.get("model")),
        ("train on", f"{since} to {until}" if since and until else ""),
        ("expires", instant(payload.get("expiresAt") or "")),
        ("works on it", payload.get("acknowledgedBy") if kind is not Kind.ACKNOWLEDGED else ""),
        ("runbook", payload.get("runbook")),
        ("signal" if kind in OF_SIGNALS else "action", payload.get("id")),
        # People and commands name an incident by its number, which the title has.
        ("incident", "" if payload.get("name") or message.incident == payload.get("id") else message.incident),
    )
    shown = [(label, shortened(str(value), limits.line)) for label, value in facts if value]
    return tuple(shown[: limits.facts])


def _clipped(lines: Sequence[str], limits: Limits) -> tuple[str, ...]:
    kept = [shortened(line, limits.line) for line in lines if line.strip()]
    if len(kept) > limits.lines:
        rest = len(kept) - limits.lines + 1
        kept = [*kept[: limits.lines - 1], f"and {rest} lines more"]
    return tuple(kept)


def _with_room(lines: Sequence[str], room: int) -> list[str]:
    """Return the first lines that have room, each with its line break."""
    kept = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return kept


def _rest(count: int) -> str:
    return f"  and {count} lines more"
