"""The command that runs the cases beside the definitions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from featurestore.cli.options import HERE, Repo, show_error
from featurestore.cli.progress import rows_done
from featurestore.errors import DefinitionError

if TYPE_CHECKING:
    from featurestore.definitions import Definition
    from featurestore.testing.cases import FeatureCase

_HOW_TO_WRITE_ONE = """\
There is no case. Write cases.py beside featurestore.toml:

    from featurestore.testing import FeatureCase

    fresh = FeatureCase(
        of="{service}",
        given={{"{view}": [{{{row}}}]}},
        ask=[{{{ask}}}],
        expect=[{{"{feature}": ...}}],
    )
"""


def add_to(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("test")(run)


def run(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Files of cases; cases.py, *_cases.py and cases/*.py when none is given."),
    ] = None,
    match: Annotated[str, typer.Option("--match", "-k", help="Only cases whose name, or target, has this text.")] = "",
    repo: Repo = HERE,
) -> None:
    """Run the cases kept beside the definitions, on a throw-away store. Exit code: 0 all passed, 1 not."""
    from featurestore import config as configuration
    from featurestore.definition_files import load_definitions
    from featurestore.testing.files import case_files, load_cases
    from featurestore.testing.reporting import report
    from featurestore.testing.running import run_case

    config = configuration.load(repo)
    definitions = load_definitions(config)
    read: list[FeatureCase] = []
    unread = []
    for file in files or case_files(config):
        try:
            read += load_cases([file])
        except DefinitionError as error:  # the cases of other files can be run
            show_error(error)
            unread.append(file.name)
    cases = list({id(case): case for case in read}.values())  # a file may import those of another
    if not cases and unread:
        raise typer.Exit(1)
    if not cases:
        typer.echo(_example(definitions), err=True)
        raise typer.Exit(1)
    chosen = [case for case in cases if match in case.name or match in case.target]
    if not chosen:
        names = ", ".join(case.name for case in cases)
        typer.echo(f'No case matches "{match}": there are {names}.', err=True)
        raise typer.Exit(1)
    failed = []
    for case in chosen:
        with rows_done(case.name):
            result = run_case(case, definitions)
        typer.secho(
            f"{'ok    ' if result.passed else 'FAILED'} {case.name}",
            fg=typer.colors.GREEN if result.passed else typer.colors.RED,
        )
        if not result.passed:
            failed.append(result)
    for result in failed:
        typer.echo("\n" + "\n".join(report(result)))
    left_out = f", {len(cases) - len(chosen)} left out" if len(chosen) < len(cases) else ""
    missed = f"; files that could not be read: {', '.join(unread)}" if unread else ""
    typer.echo(f"\n{len(chosen) - len(failed)} passed, {len(failed)} failed{left_out}{missed}.")
    if failed or unread:
        raise typer.Exit(1)


def _example(definitions: Sequence[Definition]) -> str:
    """Return how to write a case, in the names of the first service that has one."""
    from featurestore.definitions import FeatureService

    service = next((one for one in definitions if isinstance(one, FeatureService) and not one.shared), None)
    if service is None:
        return "There is no case. Write cases.py beside featurestore.toml: docs/testing.md"
    view = service.views[0]
    keys = "".join(f'"{key}": ..., ' for key in view.keys)
    asked = "".join(f'"{key}": ..., ' for key in (*service.keys, *(one.name for one in service.request)))
    return _HOW_TO_WRITE_ONE.format(
        service=service.name,
        view=view.name,
        row=f'{keys}"{view.timestamp_field}": "2024-01-01T06:00Z", "{view.schema[0].name}": ...',
        ask=f'{asked}"event_timestamp": "2024-01-01T07:00Z"',
        feature=next(one.name for fields in service.outputs.values() for one in fields),
    )
