"""A channel's own texts: ``{name}`` where a value goes, out of a closed set of names, checked when they are read."""

from __future__ import annotations

import string
from collections.abc import Mapping

from featurestore.errors import ConfigError, closest
from featurestore.settings.channels import ChannelConfig

#: What a template may name. :func:`monitor.alerts.wording.values` fills in every one of them.
NAMES = frozenset(
    {
        "acknowledged_by",
        "action",
        "baseline",
        "cause",
        "commands",
        "evidence",
        "facts",
        "features",
        "findings",
        "first",
        "incident",
        "kind",
        "model",
        "name",
        "project",
        "rule",
        "runbook",
        "service",
        "severity",
        "since",
        "slice",
        "state",
        "subject",
        "summary",
        "text",
        "title",
    }
)
_HINT = "Names are in braces, {summary}; a brace itself is written twice, {{. docs/messages.md lists the names."


class Template:
    """The texts of one channel.

    Args:
        channel: its name in ``featurestore.toml``.
        config: its section.

    Raises:
        ConfigError: a template has an unknown name, or a brace that nothing closes.
    """

    def __init__(self, channel: str, config: ChannelConfig) -> None:
        self._subject = _parsed(channel, "subject_template", config.subject_template)
        self._body = _parsed(channel, "template", config.template)

    def subject(self, values: Mapping[str, str]) -> str | None:
        """Return the subject; None where the channel has ours."""
        return _filled(self._subject, values)

    def body(self, values: Mapping[str, str]) -> str | None:
        """Return the text; None where the channel has ours."""
        return _filled(self._body, values)


#: Text, and the name after it or None.
_Parts = tuple[tuple[str, str | None], ...]


def _parsed(channel: str, setting: str, text: str) -> _Parts:
    where = f'Setting "channels.{channel}.{setting}"'
    try:
        found = list(string.Formatter().parse(text))
    except ValueError as error:
        raise ConfigError(f"{where} cannot be read: {error}.", hint=_HINT) from None
    for _, name, form, conversion in found:
        if name is None:
            continue
        if name not in NAMES:
            raise ConfigError(f'{where} has an unknown name "{name}".', hint=closest(name, NAMES) or _HINT)
        if form or conversion:
            raise ConfigError(f'{where}: "{name}" takes no format.', hint=f"Write {{{name}}}.")
    return tuple((before, name) for before, name, _, _ in found)


def _filled(parts: _Parts, values: Mapping[str, str]) -> str | None:
    if not parts:
        return None
    return "".join(before + (values[name] if name is not None else "") for before, name in parts)
