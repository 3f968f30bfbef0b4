"""The tree of commands, and what becomes of an error."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import typer

from featurestore import __version__
from featurestore.cli import (
    audit,
    backfill,
    data,
    datasets,
    definitions,
    doctor,
    erase,
    history,
    identity,
    ingest,
    inspection,
    lineage,
    loadtest,
    log,
    materialize,
    models,
    moving,
    push,
    rollout,
    serving,
    sharing,
    stream,
    tables,
    testing,
    tokens,
    upgrading,
)
from featurestore.cli.options import show_error
from featurestore.cli.tree import command_of
from featurestore.errors import FeatureStoreError
from featurestore.logs import configure_logging

#: What typer raises for a wrong command line. Its base is click's, whichever copy of click this typer brings.
_CommandLineError: type[Any] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")

#: The exit code after Ctrl-C, as shells give it.
INTERRUPTED = 130


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"featurestore {__version__}")
        raise typer.Exit


def build() -> typer.Typer:
    """Return the application with every command, and group of commands, that an installed package adds."""
    app = typer.Typer(
        name="featurestore",
        help="A feature store with a drift-monitoring daemon.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=True,
        epilog="--debug, anywhere on the line, shows the traceback of an error.",
    )

    @app.callback()
    def options(
        version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
    ) -> None:
        """A feature store with a drift-monitoring daemon."""

    for group in (
        definitions,
        doctor,
        upgrading,
        testing,
        inspection,
        lineage,
        rollout,
        sharing,
        ingest,
        materialize,
        push,
        stream,
        data,
        datasets,
        models,
        tables,
        backfill,
        history,
        serving,
        log,
        loadtest,
        audit,
        erase,
        moving,
        identity,
        tokens,
    ):
        group.add_to(app)
    for name, added in _added():
        if isinstance(added, typer.Typer):
            app.add_typer(added, name=name)
        else:
            app.command(name)(added)
    return app


@functools.cache
def _added() -> list[tuple[str, typer.Typer | Callable[..., None]]]:
    """Return groups of commands, and single commands, by name."""
    return [(entry.name, entry.load()) for entry in entry_points(group="featurestore.commands")]


def run(arguments: list[str], *, debug: bool) -> int:
    """Run one command line and return the exit code."""
    configure_logging()
    try:
        result = command_of(build()).main(arguments, prog_name="featurestore", standalone_mode=False)
    except _CommandLineError as error:
        error.show()
        return 1
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("Interrupted.", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        return 0
    except FeatureStoreError as error:
        if debug:
            traceback.print_exc()
        show_error(error)
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: a fault of ours, said in one line
        return _our_fault(error, debug=debug)
    finally:
        sys.stderr.flush()
    if result == INTERRUPTED:  # what typer makes of Ctrl-C; it says nothing
        typer.echo("Interrupted.", err=True)
    return result if isinstance(result, int) else 0


def _our_fault(error: Exception, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    typer.secho(f"Error: unexpected {type(error).__name__}: {error}", err=True, fg=typer.colors.RED)
    typer.echo("Hint: this is a fault of featurestore; the same command with --debug shows where.", err=True)
    return 1
