"""A plan as text, after Terraform's.

``+`` comes, ``~`` changes, ``-`` goes, ``!`` breaks users, and ``#`` tells the cost.
"""

from __future__ import annotations

import difflib
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from featurestore import markup
from featurestore.registry.differences import Difference

if TYPE_CHECKING:
    from featurestore.registry.plan import Change, Plan

Format = Literal["text", "markdown", "json"]

#: What a plan counts, in the order of its last line.
COUNTED: Mapping[str, str] = {
    "create": "to create",
    "new version": "to get a new version",
    "make current": "to go back to an earlier version",
    "update notes": "with new notes",
    "remove": "to remove",
    "unchanged": "unchanged",
}

#: A view of this project, used under a name of its own: ``weather@2[temp] (origin from dest)``.
_USE = re.compile(r"\w+@[0-9]+(\[.*\])?( \(.*\))?")

_INDENT = "      "
_DEEPER = _INDENT + "    "


def render(plan: Plan, format: Format) -> str:  # noqa: A002 - the option's own word
    """Return a plan for a terminal, a pull request or a program."""
    if format == "json":
        return json.dumps(plan.to_json(), indent=2, ensure_ascii=False)
    return _markdown(plan) if format == "markdown" else _text(plan)


def html(plan: Plan) -> str:
    """Return a plan as a table, for a notebook."""
    rows = []
    for change in plan.changed:
        lines = [line.removeprefix(_INDENT) for one in change.differences for line in render_difference(one)]
        lines += [*(f"! {reason}" for reason in _reasons(change)), *(f"# {note}" for note in change.notes)]
        rows.append((_sign(change), _headline(change), markup.element("pre", "\n".join(lines))))
    return markup.text_of(markup.table(("", "object", "what changes"), rows, caption=_summary(plan)))


def differences_as_json(differences: Iterable[Difference]) -> list[dict[str, Any]]:
    """Return differences as JSON values."""
    return [{"path": one.path, "old": one.old, "new": one.new} for one in differences]


def _text(plan: Plan) -> str:
    lines: list[str] = []
    for change in plan.changed:
        lines.append(render_block(_sign(change), _headline(change), change.differences, _reasons(change), "text"))
        lines += [f"{_INDENT}# {note}" for note in change.notes]
    return "\n".join([*lines, "", _summary(plan)] if lines else [_summary(plan)])


def _reasons(change: Change) -> list[str]:
    return [*(f"breaking: {reason}" for reason in change.breaking), *(f"in use: {user}" for user in change.users)]


def render_block(
    sign: str,
    headline: str,
    differences: Iterable[Difference],
    reasons: Iterable[str],
    format: Format,  # noqa: A002 - the option's own word
) -> str:
    """Return one object's differences as ``text`` or ``markdown``.

    Args:
        sign: ``+``, ``~`` or ``-``.
        headline: the object.
        differences: what is different.
        reasons: what speaks against it.
        format: the format.
    """
    body = [line for difference in differences for line in render_difference(difference)]
    body += [f"{_INDENT}! {reason}" for reason in reasons]
    if format == "text":
        return "\n".join([f"  {sign} {headline}", *body])
    body = [_coloured(line.removeprefix(_INDENT)) for line in body]
    fence = "`" * max(3, 1 + max((len(run) for line in body for run in re.findall("`+", line)), default=0))
    return "\n".join([f"### {sign} `{headline}`", *(["", f"{fence}diff", *body, fence] if body else [])])


def _summary(plan: Plan) -> str:
    if plan.is_empty:
        return f"No changes: {plan.counts.get('unchanged', 0)} definitions are as registered."
    return f"Plan: {', '.join(f'{count} {COUNTED[effect]}' for effect, count in plan.counts.items())}."


def _sign(change: Change) -> str:
    return {"create": "+", "remove": "-"}.get(change.effect, "~")


def _headline(change: Change) -> str:
    known = " (known definition)" if change.action == "make current" else ""
    if change.effect == "create":
        return f"{change.kind} {change.name}@{change.to_version}{known}"
    if change.action == "update notes":
        return f"{change.kind} {change.name}@{change.to_version} (notes only, no new version)"
    if change.action == "remove":
        return f"{change.kind} {change.name}@{change.from_version}"
    return f"{change.kind} {change.name}@{change.from_version} -> {change.name}@{change.to_version}{known}"


def _markdown(plan: Plan) -> str:
    """Return a plan for a pull request: a heading with the counts, what stops it, and each object's diff."""
    counts = [f"{count} {COUNTED[effect]}" for effect, count in plan.counts.items() if effect != "unchanged"]
    lines = [f"## Feature store plan: {', '.join(counts) or 'no changes'}"]
    stops = [("Breaking", "apply it with `--allow-breaking` if that is meant", list(plan.breaking))]
    used = [f"{change.kind} {change.name}: {user}" for change in plan.changes for user in change.users]
    stops.append(("In use", "what is used cannot be removed", used))
    for title, meaning, reasons in stops:
        if reasons:
            lines += ["", "> [!CAUTION]", f"> **{title}**: {meaning}.", *(f"> - {_inline(one)}" for one in reasons)]
    for change in plan.changed:
        block = render_block(_sign(change), _headline(change), change.differences, _reasons(change), "markdown")
        lines += ["", block, *([""] if change.notes else []), *(f"- {_inline(note)}" for note in change.notes)]
    unchanged = plan.counts.get("unchanged", 0)
    return "\n".join([*lines, *(["", f"{unchanged} definitions are as registered."] if unchanged else [])])


def _coloured(line: str) -> str:
    """Return a line that shows its colour in a block of a diff: that hangs on its first character."""
    if line.startswith("~ "):
        return f"!{line[1:]}"
    return line[4:] if line.startswith(("    + ", "    - ")) else line


def _inline(text: str) -> str:
    return re.sub(r"([\\`*<>\[\]|])", r"\\\1", text)


def render_difference(difference: Difference) -> Iterator[str]:
    """Yield the lines of one value that changes; texts of several lines are shown as such, changed ones as a diff."""
    path, old, new = difference.path, difference.old, difference.new
    if isinstance(old, str) and isinstance(new, str) and "\n" in old + new:
        yield f"{_INDENT}~ {path}:"
        yield from _changed_text(old, new)
    elif old is None:
        yield from _value("+", path, new)
    elif new is None:
        yield from _value("-", path, old)
    else:
        yield f"{_INDENT}~ {path}: {_shown(old)} -> {_shown(new)}"


def _value(sign: str, path: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and not _is_field(value) and not _is_plain(value):
        for key, inner in value.items():
            if inner not in (None, "", [], {}):
                yield from _value(sign, f"{path}.{key}", inner)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value, 1):
            yield from _value(sign, f"{path}.{inner.get('name') or number}", inner)
    elif isinstance(value, str) and "\n" in value:
        yield f"{_INDENT}{sign} {path} ="
        yield from (f"{_DEEPER}{line}" for line in _lines(value))
    else:
        yield f"{_INDENT}{sign} {path} = {_shown(value)}"


def _is_plain(value: dict[str, Any]) -> bool:
    """Whether a mapping reads best on one line: names with types, or references."""
    return all(
        inner.keys() == {"dtype"} if _is_field(inner) else _is_reference(key, inner) for key, inner in value.items()
    )


def _is_field(value: Any) -> bool:
    return isinstance(value, dict) and "dtype" in value


def _is_reference(name: str, value: Any) -> bool:
    return isinstance(value, str) and (value.startswith(f"{name}@") or value.isalnum() or bool(_USE.fullmatch(value)))


def _shown(value: Any) -> str:
    if _is_field(value):
        checks = (f"{name}={json.dumps(inner, ensure_ascii=False)}" for name, inner in value.items() if name != "dtype")
        return ", ".join([value["dtype"], *checks])
    if isinstance(value, dict) and _is_plain(value):
        return ", ".join(_named(*one) for one in value.items()) or "none"
    return json.dumps(value, ensure_ascii=False)


def _named(name: str, value: Any) -> str:
    if _is_field(value):
        return f"{name} {value['dtype']}"
    if value.startswith(f"{name}@"):
        return str(value)
    return f"{value} as {name}" if "@" in value else f"{name} {value}"


def _changed_text(old: str, new: str) -> Iterator[str]:
    for line in difflib.ndiff(_lines(old), _lines(new)):
        if not line.startswith("?"):
            yield f"{_DEEPER}{line}".rstrip()


def _lines(text: str) -> list[str]:
    # The first line of a literal stands beside its quotes; the others carry the indentation of the file.
    if text.startswith("def "):
        return text.rstrip().splitlines()
    first, _, rest = text.strip().partition("\n")
    return [first, *textwrap.dedent(rest).splitlines()] if rest else [first]
