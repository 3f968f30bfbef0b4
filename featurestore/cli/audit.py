"""Commands on the audit log: list, head, verify."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from featurestore import types
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json
from featurestore.errors import ConfigError

if TYPE_CHECKING:
    from featurestore.registry import AuditEntry, AuditReport


class _ListUnlessSaid(TyperGroup):
    """``audit --object weather`` is ``audit list --object weather``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


_audit = typer.Typer(
    cls=_ListUnlessSaid, help="The audit log: who changed what. Without a command it is listed.", no_args_is_help=False
)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    app.add_typer(_audit, name="audit")


@_audit.command("list")
def list_(
    of: Annotated[str | None, typer.Option("--object", help="Only on this: weather, weather@2.")] = None,
    action: Annotated[str | None, typer.Option("--action", help="Only this: apply, promote, ingest ...")] = None,
    who: Annotated[str | None, typer.Option("--who", help="Only by this name; also user@host of that name.")] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="INSTANT", help="Only from then on: 2024-05-01T00:00:00Z.")
    ] = "",
    until: Annotated[str, typer.Option("--until", metavar="INSTANT", help="Only before.")] = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only so many, the newest.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Also what it was before and after.")] = False,
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """List who changed what, oldest first."""
    with open_store(repo) as store:
        entries = store.registry.audit(
            object=of,
            action=action,
            who=who,
            since=types.utc(since, "--since") if since else None,
            until=types.utc(until, "--until") if until else None,
            limit=limit,
        )
    if output is Format.json:
        print_json([vars(entry) for entry in entries])
        return
    for entry in entries:
        typer.echo(f"{entry.sequence:>5}  {entry.at:%Y-%m-%d %H:%M:%S}  {entry.who}  {entry.action}  {entry.object}")
        if verbose:
            for line in _details(entry):
                typer.echo(f"{'':7}{line}")
    if not entries:
        typer.echo("There is no entry.")


def _details(entry: AuditEntry) -> Iterator[str]:
    if entry.origin:
        yield f"from {entry.origin.get('program', '?')} on {entry.origin.get('host', '?')}"
    details = dict(entry.details)
    for old, new, name in [(f"from_{one[3:]}", one, one[3:]) for one in details if one.startswith("to_")]:
        if old in details:
            yield f"{name}: {_shown(details.pop(old))} -> {_shown(details.pop(new))}"
    for path, before, after in details.pop("differences", []):
        yield f"{path}: {_shown(before)} -> {_shown(after)}"
    for name, value in details.items():
        if value not in ("", None, [], {}):
            yield f"{name}: {_shown(value)}"


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(_shown(inner) for inner in value)
    return str(value)


@_audit.command()
def head(
    out: Annotated[Path | None, typer.Option("--out", help="The file; standard output when not given.")] = None,
    repo: Repo = HERE,
) -> None:
    """Write the signed head of the log: kept elsewhere, it shows later whether anybody rewrote the log."""
    import json

    from featurestore.registry.signing import fingerprint

    with open_store(repo) as store:
        made = store.audit_head()
    text = json.dumps(made.to_json(), indent=2) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{out} cannot be written: {error.strerror}.") from None
    typer.echo(f"The head of {made.project}, entry {made.sequence}, is in {out}.")
    typer.echo(f"It is signed by {made.key}, fingerprint {fingerprint(made.key)}.")
    typer.echo(f"Keep both elsewhere. To check the log later: featurestore audit verify --head {out} --key {made.key}")


@_audit.command()
def verify(
    heads: Annotated[
        list[Path] | None, typer.Option("--head", metavar="FILE", help="A head that was written before; repeatable.")
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="PUBLIC", help="Trust only heads by this key; the store's own when not given."),
    ] = None,
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Check that no entry was edited, removed, moved or rebuilt; exit code 1 if one was."""
    with open_store(repo) as store:
        report = store.verify_audit(heads or [], keys or [])
    if output is Format.json:
        print_json(
            {
                "project": report.project,
                "intact": report.is_intact,
                "entries": report.entries,
                "heads": report.heads,
                "vouched": report.vouched,
                "vouched_at": report.vouched_at,
                "vouched_by": report.vouched_by,
                "problems": [vars(problem) for problem in report.problems],
                "warnings": list(report.warnings),
            }
        )
    else:
        _print(report)
    if not report.is_intact:
        raise typer.Exit(1)


def _print(report: AuditReport) -> None:
    from featurestore.registry.signing import fingerprint

    for problem in report.problems:
        typer.secho(str(problem), fg=typer.colors.RED, err=True)
    for warning in report.warnings:
        typer.secho(f"Warning: {warning}", fg=typer.colors.YELLOW, err=True)
    heads = f"{report.heads} signed head{'s' * (report.heads != 1)}"
    if report.is_intact:
        typer.echo(f"The audit log is intact: {report.entries} entries, compared with {heads}.")
    else:
        typer.echo(f"Tampering was found: {report.entries} entries, compared with {heads}.", err=True)
    if report.vouched_at is not None:
        typer.echo(
            f"Entries 1 to {report.vouched} are vouched for by a head of {report.vouched_at:%Y-%m-%d %H:%M:%S} UTC, "
            f"signed by {fingerprint(report.vouched_by)}."
        )
    elif report.entries:
        typer.echo(
            "No head vouches for an entry. To have one: featurestore audit head --out FILE, "
            "and then: featurestore audit verify --head FILE"
        )
