"""What is wrong with a file of settings, as a sentence and a hint."""

from __future__ import annotations

from typing import cast, get_args

from pydantic import BaseModel, ValidationError

from featurestore.errors import closest
from featurestore.settings.channels import KINDS

#: What the name of a project or a rehearsal may be, for whoever chose another.
PLAIN_NAME_RULE = 'Use letters, digits, "_", "-" and ".", a letter or a digit first, at most 64 of them.'

_EXPLAINED = "The file docs/configuration.md of the repository explains every setting."


def first_fault(error: ValidationError, whole: type[BaseModel]) -> tuple[str, str]:
    """Return what is wrong with the first wrong setting, and a hint.

    Args:
        error: what Pydantic says of a file.
        whole: what the file was to be.
    """
    fault = error.errors(include_url=False, include_input=False)[0]
    place = fault["loc"]
    if place[0] == "channels" and len(place) > 2:
        kind, place = str(place[2]), (*place[:2], *place[3:])  # the kind is between the section and its setting
    else:
        kind = ""
        if place[0] == "online":  # the same, or that it is a URL
            place = (place[0], *place[2:])
    key = ".".join(str(part) for part in place)
    if fault["type"] == "extra_forbidden":
        known = list(KINDS[kind].model_fields) if kind else _settings(whole, place[:-1])
        return f'there is no setting "{key}".', closest(str(place[-1]), known)
    if fault["type"].startswith("union_tag"):
        return f'setting "{key}.kind" does not name a kind of channel.', f"It is one of {', '.join(sorted(KINDS))}."
    if fault["type"] == "value_error":
        hint = PLAIN_NAME_RULE if key == "project" else _EXPLAINED
        return f'setting "{key}": {fault["ctx"]["error"]}.', hint
    said = fault["msg"][0].lower() + fault["msg"][1:]
    return f'setting "{key}": {said}.', _EXPLAINED


def _settings(whole: type[BaseModel], section: tuple[int | str, ...]) -> list[str]:
    """Return the names of the settings of a section: ``("channels", "ops")`` has those of ChannelConfig."""
    here = whole
    for part in section:
        field = here.model_fields.get(str(part))
        if field is None:
            continue  # the name of a channel or a source: the part before has led to its section
        # A section, or a mapping of names to sections.
        here = cast("type[BaseModel]", (get_args(field.annotation) or (field.annotation,))[-1])
    return [name for name in here.model_fields if name not in ("root", "file", "replay")]
