"""Commands on tables as a whole: loads, compact, restore, gc."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import (
    HERE,
    Format,
    OutputFormat,
    Repo,
    all_views,
    open_store,
    print_json,
    warn_of_low_disk,
)
from featurestore.cli.progress import rows_done

if TYPE_CHECKING:
    from featurestore.offline.tables.garbage import Garbage

_View = Annotated[str, typer.Argument(help="The feature view.", autocompletion=names_of("feature_view"))]
_Reason = Annotated[str, typer.Option(help="Why; it stands in the table's history and in the audit.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    for command in (loads, compact, restore, gc):
        app.command()(command)


def loads(view: _View, repo: Repo = HERE, output: OutputFormat = Format.text) -> None:
    """List the loads of a view's table; restore --to takes their ids."""
    with open_store(repo) as store:
        found = store.loads(view)
    if output is Format.json:
        print_json([dict(vars(one)) for one in found])
        return
    for one in found:
        state = "" if one.withdrawn_at is None else f", withdrawn {one.withdrawn_at:%Y-%m-%d %H:%M}"
        aside = f", {one.rows_quarantined:,} quarantined" if one.rows_quarantined else ""
        why = f": {one.reason}" if one.reason else ""
        written = f"{one.rows_written:>12,} rows{aside}{state}"
        typer.echo(f"{one.published_at:%Y-%m-%dT%H:%M:%SZ}  {one.load_id:44} {written}  {one.author}{why}")
    if not found:
        typer.echo(f"The view was never ingested. Next: featurestore ingest {view}")


def compact(
    views: Annotated[
        list[str] | None,
        typer.Argument(help="Feature views; all when none is given.", autocompletion=names_of("feature_view")),
    ] = None,
    reason: _Reason = "",
    repo: Repo = HERE,
) -> None:
    """Merge the small files of tables into large ones, sorted by key and time; loads may land meanwhile."""
    with open_store(repo) as store:
        warn_of_low_disk(store)
        for name in views or all_views(store):
            with rows_done(name) as progress:
                report = store.compact(name, reason=reason, progress=progress)
            typer.echo(f"{report} ({report.seconds:.1f} s)")


def restore(
    view: _View,
    to: Annotated[str, typer.Option(metavar="LOAD|INSTANT", help="A load's id, or 2024-05-01T00:00:00Z.")],
    pushes: Annotated[bool, typer.Option("--pushes", help="Take back rows too that were pushed since.")] = False,
    reason: _Reason = "",
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Take a view's rows back to what they were, offline and online; restoring again leads forward."""
    with open_store(repo) as store, rows_done(view) as progress:
        report = store.restore(view, to=to, pushes=pushes, reason=reason, progress=progress)
    if output is Format.json:
        print_json({**vars(report), "also": [dict(vars(one)) for one in report.also]})
        return
    typer.echo(str(report))
    for one in (report, *report.also):
        for load_id in one.withdrawn:
            typer.echo(f"  withdrawn  {one.view}  {load_id}")
        for load_id in one.reinstated:
            typer.echo(f"  back       {one.view}  {load_id}")
        for note in one.notes:
            typer.echo(f"  note: {note}")


def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it stands in the audit.")] = "",
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Remove what nobody needs: leftovers of dead processes, and what is older than the settings of retention say."""
    with open_store(repo) as store, rows_done("gc"):
        report = store.gc(dry_run=dry_run, reason=reason)
    if output is Format.json:
        sides: dict[str, Any] = {"removed": _listed(report.removed), "kept": _listed(report.kept)}
        sides["young"] = _listed(report.young)
        print_json({"dry_run": report.dry_run, "bytes": report.bytes, **sides})
        return
    verb = "would go" if dry_run else "removed"
    for one in report.removed:
        held = f"{one.rows:,} row(s)" if one.rows else f"{len(one.paths)} file(s)"
        typer.echo(f"  {verb:9} {one.kind:16} {one.what:40} {one.size:>15,} bytes in {held}")
    for one in report.kept:
        typer.echo(f"  kept      {one.kind:16} {one.what:40} {one.size:>15,} bytes, needed by {one.kept_by}")
    for one in report.young:
        typer.echo(f"  too young {one.kind:16} {one.what:40} {one.size:>15,} bytes, written within the last hour")
    typer.echo(f"{report.bytes:,} bytes {verb}.")


def _listed(found: Iterable[Garbage]) -> list[dict[str, Any]]:
    return [{**vars(one), "paths": [str(path) for path in one.paths]} for one in found]
