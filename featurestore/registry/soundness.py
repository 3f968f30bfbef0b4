"""What of a definition only the engines can tell: whether its expressions and queries can be evaluated at all."""

from __future__ import annotations

from featurestore.definitions import (
    Definition,
    FeatureView,
    FileSource,
    MonitorPolicy,
    OnDemandFeatureView,
    RetrainingPolicy,
    SqlSource,
)
from featurestore.errors import DefinitionError
from featurestore.places import place_of


def check_sound(definition: Definition) -> None:
    """Check a definition before it becomes a version: better now than at the first load or lookup.

    Raises:
        DefinitionError: an expression or a query cannot be evaluated, or a source's files cannot hold a type.
    """
    match definition:
        case OnDemandFeatureView():
            # The engines take a moment to import, which only those pay whose definitions need them.
            from featurestore.transforms import Transform

            Transform(definition)
        case FeatureView():
            _check_source(definition)
        case MonitorPolicy(retrain=RetrainingPolicy() as retraining):
            if retraining.entity_rows:
                from featurestore.queries import check_repeatable

                check_repeatable(
                    retraining.entity_rows, f'The entity_rows of retrain of monitor policy "{definition.name}"'
                )


def _check_source(view: FeatureView) -> None:
    source = view.source
    if isinstance(source, SqlSource):
        from featurestore.queries import check_query

        try:
            check_query(source)
        except DefinitionError as error:
            raise DefinitionError(
                f'Feature view "{view.name}": {error.message}', hint=error.hint, where=place_of(source)
            ) from error
    if not isinstance(source, FileSource) or not source.path.lower().endswith(".csv"):
        return
    for one in view.schema:
        if not one.dtype.scalar:
            raise DefinitionError(
                f'Field "{one.name}" of feature view "{view.name}" is {one.dtype.name}, which a CSV file cannot hold.',
                hint="Keep the rows in Parquet or Delta.",
                where=place_of(one),
            )
