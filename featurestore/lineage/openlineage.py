"""Lineage as OpenLineage events: what each job reads and writes, column by column.

Jobs are described, not runs of them: events are JobEvents. A view's ingest, an on-demand view, a training dataset and a
model each have a job that writes them; a service is a job that reads features and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from featurestore import __version__
from featurestore.config import Config
from featurestore.lineage.catalog import Catalog
from featurestore.lineage.graph import Node
from featurestore.lineage.tables import Causes, Column, Table

_PRODUCER = f"urn:featurestore:{__version__}"
_SPEC = "https://openlineage.io/spec"
_JOBS = {"feature_view": "ingest", "on_demand_feature_view": "compute", "feature_service": "serve"}

#: What we call a step, as OpenLineage does: its type and its subtype.
_STEPS = {
    "identity": ("DIRECT", "IDENTITY"),
    "part": ("DIRECT", "IDENTITY"),
    "transformation": ("DIRECT", "TRANSFORMATION"),
    "aggregation": ("DIRECT", "AGGREGATION"),
    "unresolved": ("DIRECT", "TRANSFORMATION"),
    "key": ("INDIRECT", "JOIN"),
    "time": ("INDIRECT", "SORT"),
    "join": ("INDIRECT", "JOIN"),
    "filter": ("INDIRECT", "FILTER"),
    "group_by": ("INDIRECT", "GROUP_BY"),
    "window": ("INDIRECT", "WINDOW"),
    "sort": ("INDIRECT", "SORT"),
}


def events(reached: Iterable[str], catalog: Catalog, config: Config) -> list[dict[str, Any]]:
    """Return an event for each view, service, dataset and model of this project among the ids, causes first."""
    wanted = {one for one in reached if "/" not in one}
    write = _Writer(catalog, config)
    tables = [table for name, table in sorted(catalog.tables.items()) if name in wanted]
    made = [write.table(table) for kind in _JOBS for table in tables if table.node.kind == kind]
    made += [write.dataset(name.partition(":")[2]) for name in sorted(wanted) if name.startswith("dataset:")]
    return made + [write.model(name.partition(":")[2]) for name in sorted(wanted) if name.startswith("model:")]


class _Writer:
    """Writes events.

    Args:
        catalog: the views and services.
        config: the project, and where sources lie.
    """

    def __init__(self, catalog: Catalog, config: Config) -> None:
        self._catalog = catalog
        self._config = config

    def table(self, table: Table) -> dict[str, Any]:
        job = f"{_JOBS[table.node.kind]}.{table.node.name}"
        serves = table.node.kind == "feature_service"
        outputs = [] if serves else [self._output(self._place(table.node), table.columns, table.node)]
        inputs = [self._place(one) for one in table.inputs]
        inputs += [self._place(one) for column in table.columns for one in column.causes if one.kind == "request_field"]
        return self._event(table.at.isoformat(), job, inputs, outputs, query=table.query, service=serves)

    def dataset(self, reference: str) -> dict[str, Any]:
        record = self._catalog.registry.dataset(reference)
        name, _, version = str(record.manifest["service"]).partition("@")
        service = self._catalog.table("feature_service", name, int(version))
        place = self._ours(record.id)
        output = self._output(place, service.columns, None)
        return self._event(
            record.created_at.isoformat(), f"create.{record.id}", [self._place(one) for one in service.inputs], [output]
        )

    def model(self, reference: str) -> dict[str, Any]:
        record = self._catalog.registry.model(reference)
        output = {
            **self._ours(record.id),
            "facets": {
                "datasetType": self._facet("1-0-1/DatasetTypeDatasetFacet", {"datasetType": "MODEL"}),
            },
        }
        inputs = [self._ours(record.dataset)]
        return self._event(record.created_at.isoformat(), f"train.{record.id}", inputs, [output])

    def _event(
        self,
        at: str,
        job: str,
        inputs: Iterable[Mapping[str, str]],
        outputs: list[dict[str, Any]],
        *,
        query: str = "",
        service: bool = False,
    ) -> dict[str, Any]:
        kind = {"processingType": "SERVICE" if service else "BATCH", "integration": "FEATURESTORE", "jobType": "JOB"}
        facets = {"jobType": self._facet("2-0-4/JobTypeJobFacet", kind)}
        if query:
            facets["sql"] = self._facet("1-1-0/SQLJobFacet", {"query": query})
        return {
            "eventTime": at,
            "producer": _PRODUCER,
            "schemaURL": f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/JobEvent",
            "job": {"namespace": self._config.project, "name": job, "facets": facets},
            "inputs": [dict(one) for one in {tuple(sorted(one.items())): one for one in inputs}.values()],
            "outputs": outputs,
        }

    def _output(self, place: Mapping[str, str], columns: Iterable[Column], view: Node | None) -> dict[str, Any]:
        listed = list(columns)
        fields = [
            {"name": one.name, "type": one.dtype, "ordinal_position": position}
            | ({"description": one.description} if one.description else {})
            for position, one in enumerate(listed, 1)
        ]
        lineage = {one.name: {"inputFields": found} for one in listed if (found := self._inputs(one.causes))}
        facets = {"schema": self._facet("1-2-0/SchemaDatasetFacet", {"fields": fields})}
        if lineage:
            facets["columnLineage"] = self._facet("1-2-0/ColumnLineageDatasetFacet", {"fields": lineage})
        if view is not None:
            shape = "TABLE" if view.kind == "feature_view" else "VIEW"
            facets["datasetType"] = self._facet("1-0-1/DatasetTypeDatasetFacet", {"datasetType": shape})
        return {**place, "facets": facets}

    def _inputs(self, causes: Causes) -> list[dict[str, Any]]:
        """Return the columns among the causes; a source as a whole has no field, and is among the job's inputs."""
        found = []
        for cause in sorted(causes, key=lambda one: one.id):
            if cause.kind == "source":
                continue
            parent = self._catalog.holders[cause.parent]
            steps = [dict(zip(("type", "subtype"), _STEPS[how], strict=True)) for how in sorted(causes[cause])]
            field = cause.name[len(parent.name) + 1 :]
            found.append({**self._place(cause), "field": field, "transformations": steps})
        return found

    def _place(self, node: Node) -> dict[str, str]:
        """Return namespace and name of the dataset that a node is, or is in."""
        if node.kind == "request_field":
            return self._ours(f"{self._catalog.holders[node.parent].name}.request")
        holder = self._catalog.holders[node.parent] if node.parent else node
        if holder.kind != "source":
            return self._ours(holder.name)
        if "path" in holder.about:
            located = self._config.sources.get(holder.name)
            path = located.path if located is not None and located.path else holder.about["path"]
            return {"namespace": "file", "name": str(self._config.path(path))}
        if "connection" in holder.about:
            return {"namespace": f"connection://{holder.about['connection']}", "name": holder.name}
        return {"namespace": f"featurestore://{self._config.project}/push", "name": holder.name}

    def _ours(self, name: str) -> dict[str, str]:
        project, _, bare = name.rpartition("/")
        return {"namespace": f"featurestore://{project or self._config.project}", "name": bare}

    def _facet(self, schema: str, values: Mapping[str, Any]) -> dict[str, Any]:
        name = schema.rpartition("/")[2]
        return {"_producer": _PRODUCER, "_schemaURL": f"{_SPEC}/facets/{schema}.json#/$defs/{name}", **values}
