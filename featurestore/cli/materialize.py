"""The command that brings rows online: once, or again and again."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Repo, all_views, instant, open_store, show_error
from featurestore.cli.progress import rows_done
from featurestore.cli.repeating import again_and_again, ended_by_signals
from featurestore.errors import FeatureStoreError

if TYPE_CHECKING:
    from featurestore.store import FeatureStore

_logger = structlog.get_logger(__name__)


def add_to(app: typer.Typer) -> None:
    """Add this command to the application."""
    app.command()(materialize)


def materialize(
    views: Annotated[
        list[str] | None,
        typer.Argument(help="Feature views; all when none is given.", autocompletion=names_of("feature_view")),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read all rows, not only those loaded since last time.")] = False,
    start: Annotated[
        str, typer.Option("--from", help="Read rows with event times from this instant on, whenever they were loaded.")
    ] = "",
    end: Annotated[str, typer.Option("--to", help="And before this one.")] = "",
    every: Annotated[str, typer.Option("--every", help="Again and again, until Ctrl-C or SIGTERM: 15m.")] = "",
    repo: Repo = HERE,
) -> None:
    """Copy the newest rows of views into the online store: those that were loaded since the last time.

    A run that was interrupted is gone on with. With --every, one that fails is told of, and the next one follows; the
    exit code is 1 if the last one failed.
    """
    period = _period(every)
    if period and (start or end):
        raise typer.BadParameter("a range is materialized once: leave --every or --from and --to away.")
    if period and full:
        raise typer.BadParameter(
            "a run reads what came since the last one, and reading all rows each time finds no more: "
            "leave --every or --full away."
        )
    asked = _Asked(views or [], full, instant(start, "--from"), instant(end, "--to"))
    if period:
        with ended_by_signals() as stop:
            well = again_and_again(lambda: asked.once_more(repo, stop), period.total_seconds(), stop)
    else:
        with open_store(repo) as store:
            well = asked.once(store)
    if not well:
        raise typer.Exit(1)


def _period(text: str) -> timedelta | None:
    from featurestore.settings.retention import duration

    period = duration(text, "--every") if text else None
    if period is not None and period < timedelta(seconds=1):
        raise typer.BadParameter("at least a second has to lie between two runs.", param_hint="--every")
    return period


class _Stopped(Exception):  # noqa: N818 - no error: somebody ended the command
    """The command was ended amid a run, which the next one goes on with."""


@dataclass(frozen=True)
class _Asked:
    """What the command line asks for."""

    views: list[str]
    full: bool
    start: datetime | None
    end: datetime | None

    def once(self, store: FeatureStore) -> bool:
        """Materialize each view and say what became of it; return whether all went well."""
        names, failed = self.views or all_views(store), []
        for name in names:
            try:
                with rows_done(name) as progress:
                    report = store.materialize(name, full=self.full, start=self.start, end=self.end, progress=progress)
            except FeatureStoreError as error:
                if len(names) == 1:
                    raise
                # The other views are no worse for it, and their rows are wanted.
                show_error(error)
                failed.append(name)
                continue
            typer.echo(str(report))
        if failed:
            typer.echo(f"{len(failed)} of {len(names)} views could not be materialized: {', '.join(failed)}.", err=True)
        return not failed

    def once_more(self, repo: Path, stop: threading.Event) -> bool:
        """Materialize each view, and say in one line what became of all; nothing that fails ends it."""

        def watched(count: int, total: int) -> None:  # noqa: ARG001
            if stop.is_set():
                raise _Stopped

        said, failed = [], []
        try:
            # Opened each time: settings, a registry and stores that are away may be others when they are back.
            with open_store(repo) as store:
                for name in self.views or [one.name for one in store.registry.list("feature_view")]:
                    try:
                        said.append(str(store.materialize(name, full=self.full, progress=watched)))
                    except FeatureStoreError as error:
                        show_error(error)
                        failed.append(name)
                    if stop.is_set():
                        break
        except _Stopped:
            said.append("interrupted, the next run goes on")
        except FeatureStoreError as error:
            show_error(error)
            failed.append("all")
        except Exception:  # what is unforeseen must not end it either: the next run may go well
            _logger.exception("materialization failed")
            failed.append("all")
        said += [f"failed: {', '.join(failed)}"] if failed else []
        typer.echo(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}  {'; '.join(said) or 'there is no feature view'}")
        return not failed
