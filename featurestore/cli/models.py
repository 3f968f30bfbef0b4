"""Commands on recorded models: model list, compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Annotated, Any

import typer

from featurestore.cli.completion import names_of
from featurestore.cli.options import HERE, Format, OutputFormat, Repo, instant, open_registry_of, open_store, print_json
from featurestore.errors import FeatureStoreError

if TYPE_CHECKING:
    from featurestore.registry import Difference, Made, ModelComparison, ModelRecord, Numbers
    from featurestore.store import FeatureStore

#: Where packages name what compares two models on live data.
GROUP = "featurestore.live_comparisons"
#: Takes a store, two models, and the first instant that counts; returns lines for people, and JSON values.
Live = Callable[["FeatureStore", str, str, datetime | None], tuple[Sequence[str], Mapping[str, Any]]]

#: Packages and features that are shown; all are in the JSON.
_SHOWN = 12


def add_to(app: typer.Typer) -> None:
    """Add these commands to the application."""
    group = typer.Typer(help="Recorded models.", no_args_is_help=True)
    for command in (list_, compare):
        group.command(command.__name__.rstrip("_"))(command)
    app.add_typer(group, name="model")


def list_(
    name: Annotated[str, typer.Argument(help="Only the versions of this model.")] = "",
    service: Annotated[
        str,
        typer.Option(
            help="Only models of a service, scoring, or of one version of it, scoring@2.",
            autocompletion=names_of("feature_service"),
        ),
    ] = "",
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """List the models: service, dataset, metrics at training, and which aliases serve the service's version."""
    with open_registry_of(repo) as registry:
        if name:
            registry.model(name)  # a name that there is not is a mistake, and no empty list
        found = [one for one in registry.models(service or None) if not name or name in (one.name, one.id)]
        aliases: dict[str, list[str]] = {}
        for alias in registry.alias_records():
            aliases.setdefault(alias.id, []).append(alias.alias)
    if output is Format.json:
        print_json([_values(one) | {"aliases": aliases.get(one.service, [])} for one in found])
        return
    for one in found:
        served = "".join(f" ({alias})" for alias in aliases.get(one.service, []))
        metrics = ", ".join(f"{metric} {value:.4g}" for metric, value in one.metrics.items())
        made = f"{one.created_at:%Y-%m-%d %H:%M} by {one.created_by}"
        typer.echo(f"{one.id:28} {one.service + served:28} {one.dataset:28} {made}  {metrics}".rstrip())
    if not found:
        typer.echo("There is no model. Next: store.log_model(NAME, service=..., dataset=...)")


def compare(
    a: Annotated[str, typer.Argument(help="The model to compare with: churn@1.")],
    b: Annotated[str, typer.Argument(help="The other one: churn@2.")],
    live: Annotated[bool, typer.Option(help="Also how they do on predictions and outcomes that were logged.")] = True,
    since: Annotated[
        str, typer.Option("--since", metavar="INSTANT", help="First instant of a prediction on live data: 2026-03-01.")
    ] = "",
    repo: Repo = HERE,
    output: OutputFormat = Format.text,
) -> None:
    """Show two models side by side: data, features, numbers at training and on live data, importances, environment."""
    first = instant(since, "--since")
    with open_store(repo) as store:
        found = store.compare_models(a, b)
        names = found.a.model.id, found.b.model.id
        measured = list(_measured(store, *names, first)) if live else []
    if output is Format.json:
        about = {"live": next((values for _, values in measured), None)} if live else {}
        print_json(_json(found) | about)
        return
    for line in _lines(found):
        typer.echo(line)
    for lines, _ in measured:
        for line in lines:
            typer.echo(line)


def _measured(
    store: FeatureStore, a: str, b: str, since: datetime | None
) -> Iterator[tuple[Sequence[str], Mapping[str, Any]]]:
    for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name):
        compare_live: Live = entry.load()
        try:
            yield compare_live(store, a, b, since)
        except FeatureStoreError as error:
            # What is known of the records is shown all the same.
            yield [f"  {'live data':16} {error.sentence}"], {"error": error.sentence}


def _lines(found: ModelComparison) -> Iterator[str]:
    a, b = found.a, found.b
    yield f"{a.model.id} and {b.model.id}"
    yield from _pair("made", _made(a.model), _made(b.model))
    yield from _pair("git commit", a.model.git_commit[:12], b.model.git_commit[:12])
    yield from _pair("service", a.model.service, b.model.service)
    yield from _pair("dataset", a.model.dataset, b.model.dataset)
    yield from (f"    {line}" for line in _changed(found.dataset))
    if found.features_added:
        yield f"  {'features':16} added: {', '.join(found.features_added)}"
    if found.features_removed:
        yield f"  {'features':16} removed: {', '.join(found.features_removed)}"
    if found.hyperparameters:
        yield f"  {'hyperparameters':16} {', '.join(_changed(found.hyperparameters))}"
    if found.evaluation:
        yield f"  {'evaluation':16} {', '.join(_changed(found.evaluation))}"
    yield from _environment(found.environment)
    yield from _table("at training", found.metrics, (a, b))
    yield from _table("importance", found.importances, (a, b))


def _environment(differences: Sequence[Difference]) -> Iterator[str]:
    if not differences:
        yield f"  {'environment':16} the same"
        return
    more = f" and {len(differences) - _SHOWN:,} more" if len(differences) > _SHOWN else ""
    yield f"  {'environment':16} {', '.join(_changed(differences[:_SHOWN]))}{more}"


def _table(title: str, rows: Sequence[Numbers], models: tuple[Made, Made]) -> Iterator[str]:
    if not rows:
        return
    yield f"  {title:30} {models[0].model.id:>26} {models[1].model.id:>26} {'change':>10}"
    for one in rows[:_SHOWN]:
        change = "" if one.change is None else f"{one.change:+.4g}"
        shown = (_number(one.a, one.a_interval), _number(one.b, one.b_interval))
        yield f"    {one.name:28} {shown[0]:>26} {shown[1]:>26} {change:>10}".rstrip()
    if len(rows) > _SHOWN:
        yield f"    and {len(rows) - _SHOWN:,} more"


def _number(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if interval is None else f"{value:.4g} [{interval[0]:.4g}, {interval[1]:.4g}]"


def _pair(word: str, a: str, b: str) -> Iterator[str]:
    if a or b:
        both = " -> ".join(one or "-" for one in (a, b))
        yield f"  {word:16} {a if a == b else both}"


def _made(model: ModelRecord) -> str:
    return f"{model.created_at:%Y-%m-%d %H:%M} by {model.created_by}"


def _changed(differences: Iterable[Difference]) -> list[str]:
    return [f"{one.path} {_plain(one.old)} -> {_plain(one.new)}" for one in differences]


def _plain(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value[:12]}..." if isinstance(value, str) and len(value) == 64 else str(value)


def _values(model: ModelRecord) -> dict[str, Any]:
    return {"id": model.id, **vars(model), "evaluation": model.evaluation.to_dict()}


def _json(found: ModelComparison) -> dict[str, Any]:
    from featurestore.registry.rendering import differences_as_json

    return {
        "a": _values(found.a.model),
        "b": _values(found.b.model),
        "metrics": [one._asdict() | {"change": one.change} for one in found.metrics],
        "importances": [one._asdict() | {"change": one.change} for one in found.importances],
        "features_added": list(found.features_added),
        "features_removed": list(found.features_removed),
        **{
            name: differences_as_json(getattr(found, name))
            for name in ("hyperparameters", "dataset", "evaluation", "environment")
        },
    }
