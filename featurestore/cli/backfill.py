"""The command that mends the past: backfill."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.asking import confirmed
from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, open_store, print_json
from featurestore.cli.progress import rows_done

if TYPE_CHECKING:
    from featurestore.offline.intake.preview import BackfillReport, Preview


def add_to(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(backfill)


def backfill(
    view: Annotated[
        str, typer.Argument(help="A view, or a version: weather@1.", autocompletion=names_of("feature_view"))
    ],
    start: Annotated[
        str,
        typer.Option("--from", metavar="INSTANT", help="The first event time: 2013-01-01, or 2013-01-01T07:00:00Z."),
    ],
    end: Annotated[str, typer.Option("--to", metavar="INSTANT", help="The first one that stays as it is.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reason: Annotated[str, typer.Option(help="Why; it stands in the table's history and in the audit.")] = "",
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Compute the rows of an interval anew from the view's source, and replace those in the table by them."""
    from featurestore.types import utc

    with open_store(repo) as store, ExitStack() as bar:
        progress = bar.enter_context(rows_done(view))

        def confirm(preview: Preview) -> bool:
            bar.close()  # a bar that is drawn over a question cannot be answered
            if output is Format.text:
                typer.echo(str(preview))
            return yes or confirmed("Replace these rows?", err=output is Format.json)

        done = store.backfill(
            view,
            utc(start, "--from"),
            utc(end, "--to"),
            dry_run=dry_run,
            confirm=confirm,
            reason=reason,
            progress=progress,
        )
    if output is Format.json:
        load_id = None if done.load is None else done.load.load_id
        print_json({**done.preview.to_json(), "load_id": load_id, "other_versions": list(done.also)})
        return
    if dry_run or done.preview.is_empty:
        typer.echo(str(done.preview))
    _say(done, view)
    if done.preview.following is not None:
        after = done.preview.following.to_json()
        typer.echo(f"The rows after it: featurestore backfill {view} --from {after['from']} --to {after['to']}")


def _say(done: BackfillReport, view: str) -> None:
    if done.load is None:
        typer.echo("Nothing changes." if done.preview.is_empty else "Nothing was changed.")
        return
    typer.echo(f"Published {done.load.rows_written:,} rows as load {done.load.load_id} ({done.seconds:.1f} s).")
    typer.echo(f"Next: featurestore materialize {view}")
    if done.preview.counts.removed:
        typer.echo("Rows that are gone stay online until newer ones of their keys are materialized.")
    for other in done.also:
        typer.echo(f"{other} is live too and has rows of its own: featurestore backfill {other}")
