"""Commands that look at definitions: list, show, search, diff."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import (
    HERE,
    Format,
    OutputFormat,
    PlanFormat,
    PlanOutputFormat,
    Repo,
    open_registry_of,
    open_store,
    print_colored,
    print_json,
)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (list_, show, search, diff):
        app.command(command.__name__.rstrip("_"))(command)


def _kinds() -> list[str]:
    from featurestore.definitions.canonical import KINDS

    return list(KINDS.values())


def _kind(text: str) -> str:
    from featurestore.errors import closest

    if text and text not in _kinds():
        raise typer.BadParameter(f'there is no kind "{text}". {closest(text, _kinds())}')
    return text


def _tag(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise typer.BadParameter(f'"{text}" is not KEY=VALUE.')
    return key, value


def list_(
    kind: Annotated[str, typer.Argument(help="Only this kind.", callback=_kind, autocompletion=_kinds)] = "",
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="Only what has the tag KEY=VALUE, or a field with it.")
    ] = None,
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """List the registered objects."""
    tags = [_tag(one) for one in tag or []]
    with open_registry_of(repo) as registry:
        found = [one for one in registry.list(kind or None) if not tags or _tagged(one.definition, tags)]
    if output is Format.json:
        print_json(
            [
                {
                    "kind": one.kind,
                    "name": one.name,
                    "version": one.version,
                    "content_hash": one.content_hash,
                    "applied_at": one.applied_at,
                    "applied_by": one.applied_by,
                }
                for one in found
            ]
        )
        return
    lines = [f"{one.kind:24} {one.id:32} {one.applied_at:%Y-%m-%d %H:%M}  {one.applied_by}" for one in found]
    if lines:
        typer.echo("\n".join(lines))
    else:
        typer.echo("Nothing like that is registered." if kind or tags else "Nothing is registered. Next: " + _APPLY)


_APPLY = "featurestore apply"


def _tagged(definition: Any, tags: list[tuple[str, str]]) -> bool:
    holders = [definition, *getattr(definition, "schema", ()), *getattr(definition, "request", ())]
    return all(any(getattr(one, "tags", {}).get(key) == value for one in holders) for key, value in tags)


def show(
    name: Annotated[str, typer.Argument(help="An object, or a version: weather@1.", autocompletion=names_of())],
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Show everything about an object: fields, source, hash, versions, what it uses and what uses it."""
    with open_store(repo) as store:
        found = store.show(name)
    if output is Format.json:
        print_json(found)
        return
    for line in _shown(found):
        typer.echo(line)


def _shown(found: Mapping[str, Any]) -> Iterator[str]:
    definition = dict(found["definition"])
    state = ""
    if found["removed_at"]:
        state = f" (removed {found['removed_at'][:10]})"
    elif found["version"] != found["current_version"]:
        state = f" (current is @{found['current_version']})"
    yield f"{found['kind']} {found['id']}{state}"
    if definition.get("description"):
        yield f"  {definition.pop('description')}"
    yield from _pair("applied", f"{_minute(found['applied_at'])} by {found['applied_by']}")
    yield from _pair("hash", found["content_hash"])
    if found["storage_id"]:
        yield from _pair("stored as", found["storage_id"])
    tables = [(key, definition.pop(key)) for key in ("schema", "request") if key in definition]
    for key, value in definition.items():
        yield from _pair(key, value)
    for key, fields in tables:
        yield f"  {key}"
        width = max((len(name) for name in fields), default=0)
        for name, about in fields.items():
            rest = {part: value for part, value in about.items() if part not in ("dtype", "description")}
            checks = "  ".join(f"{part}={_text(value)}" for part, value in rest.items())
            yield f"    {name:{width}}  {about['dtype']:10}  {checks}  {about.get('description', '')}".rstrip()
    for key in ("uses", "used_by"):
        if found[key]:
            yield from _pair(key.replace("_", " "), ", ".join(found[key]))
    if found["aliases"]:
        yield from _pair("aliases", ", ".join(f"{alias} -> @{version}" for alias, version in found["aliases"].items()))
    yield "  versions"
    for one in found["versions"]:
        mark = "*" if one["version"] == found["current_version"] else " "
        version = f"@{one['version']}"
        yield f"   {mark} {version:5} {_minute(one['applied_at'])}  {one['content_hash'][:12]}  {one['applied_by']}"


def _pair(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict) and any(isinstance(inner, str) and "\n" in inner for inner in value.values()):
        for name, inner in value.items():
            yield from _pair(f"{key}.{name}", inner)
    elif isinstance(value, str) and "\n" in value:
        yield f"  {key}"
        yield from (f"    {line}" for line in value.strip().splitlines())
    else:
        yield f"  {key:12} {_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key}={_text(inner)}" for key, inner in value.items() if inner not in (None, ""))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _minute(instant: str) -> str:
    return instant[:16].replace("T", " ")


def search(
    text: Annotated[list[str], typer.Argument(help="Words: all of them must occur.")],
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Find objects by name, field, tag, owner or description; the best match first."""
    with open_store(repo) as store:
        found = store.search(" ".join(text))
    if output is Format.json:
        print_json([one.to_json() for one in found])
        return
    for one in found:
        typer.echo(f"{one.kind:24} {one.id:32} {'; '.join(one.where)}")
    if not found:
        typer.echo(f'Nothing matches "{" ".join(text)}".')


def diff(
    old: Annotated[str, typer.Argument(help="A version: weather@1.", autocompletion=names_of())],
    new: Annotated[
        str, typer.Argument(help="Another version; the current one when not given.", autocompletion=names_of())
    ] = "",
    repo: Repo = HERE,
    output: PlanOutputFormat = PlanFormat.text,
) -> None:
    """Show what is different in one version from another."""
    with open_store(repo) as store:
        found = store.diff(old, new)
    print_colored(found.render(output.value), output)
