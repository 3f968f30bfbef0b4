"""OpenLineage events, held against the classes of the project's own client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openlineage.client import event_v2, facet_v2
from openlineage.client.generated import base
from openlineage.client.serde import Serde

from featurestore import FeatureStore

FACETS = {
    "schema": facet_v2.schema_dataset.SchemaDatasetFacet,
    "columnLineage": facet_v2.column_lineage_dataset.ColumnLineageDatasetFacet,
    "datasetType": facet_v2.dataset_type_dataset.DatasetTypeDatasetFacet,
    "sql": facet_v2.sql_job.SQLJobFacet,
    "jobType": facet_v2.job_type_job.JobTypeJobFacet,
}


def facets(found: dict[str, Any]) -> dict[str, Any]:
    """Return facets as objects of their classes, which refuse what they do not know."""
    made = {}
    for name, values in found.items():
        rest = {key: value for key, value in values.items() if not key.startswith("_")}
        if name == "schema":
            rest["fields"] = [facet_v2.schema_dataset.SchemaDatasetFacetFields(**one) for one in rest["fields"]]
        if name == "columnLineage":
            rest["fields"] = {column: _lineage(one["inputFields"]) for column, one in rest["fields"].items()}
        made[name] = FACETS[name](**rest, producer=values["_producer"])
        assert values["_schemaURL"] == made[name]._schemaURL
    return made


def _lineage(inputs: list[dict[str, Any]]) -> Any:
    module = facet_v2.column_lineage_dataset
    return module.Fields(
        inputFields=[
            module.InputField(
                **{**one, "transformations": [module.Transformation(**step) for step in one["transformations"]]}
            )
            for one in inputs
        ]
    )


def built(found: dict[str, Any]) -> base.JobEvent:
    job = found["job"]
    return event_v2.JobEvent(
        eventTime=found["eventTime"],
        producer=found["producer"],
        job=event_v2.Job(job["namespace"], job["name"], facets(job["facets"])),
        inputs=[event_v2.InputDataset(**one) for one in found["inputs"]],
        outputs=[
            event_v2.OutputDataset(one["namespace"], one["name"], facets=facets(one["facets"]))
            for one in found["outputs"]
        ],
    )


def without_nothing(value: Any) -> Any:
    """Return JSON values without what is empty: the client writes empty lists and dicts where we leave them out."""
    if isinstance(value, dict):
        return {key: inner for key, one in value.items() if (inner := without_nothing(one)) not in ({}, [], None)}
    return [without_nothing(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("reference", ["ridge", "weather:temp", "flights", "people", "watch"])
def test_every_event_is_what_the_client_of_openlineage_would_send(whole: FeatureStore, reference: str) -> None:
    found = [json.loads(line) for line in whole.lineage(reference).render("openlineage").splitlines()]
    assert found
    for event in found:
        assert event["schemaURL"] == base.JobEvent._get_schema()
        sent = json.loads(Serde.to_json(built(event)))
        assert without_nothing(sent) == without_nothing(event)


def test_a_model_s_events_lead_from_files_to_the_model_and_each_describes_its_job_in_full(
    whole: FeatureStore,
) -> None:
    found = {event["job"]["name"]: event for event in whole.lineage("ridge").to_openlineage()}
    assert list(found) == [
        "ingest.delays@1",
        "ingest.weather@1",
        "compute.context@1",
        "serve.flight_delay@1",
        "create.q1@1",
        "train.ridge@1",
    ]
    written = {one["name"] for event in found.values() for one in event["outputs"]}
    read = {one["name"] for event in found.values() for one in event["inputs"] if one["namespace"] != "file"}
    assert read - {"context@1.request"} <= written
    weather = found["ingest.weather@1"]["outputs"][0]["facets"]
    assert [one["name"] for one in weather["schema"]["fields"]] == ["origin", "event_timestamp", "temp", "dewp"]
    assert weather["schema"]["fields"][2]["description"] == "Fahrenheit"
    assert "GROUP BY" in found["ingest.delays@1"]["job"]["facets"]["sql"]["query"]


def test_columns_are_led_back_with_the_way_they_took(whole: FeatureStore) -> None:
    (ingest,) = (one for one in whole.lineage("delays").to_openlineage() if one["job"]["name"] == "ingest.delays@1")
    (output,) = ingest["outputs"]
    lineage = output["facets"]["columnLineage"]["fields"]
    by_field = {one["field"]: one for one in lineage["mean_delay"]["inputFields"]}
    assert by_field["arr_delay"]["transformations"] == [
        {"type": "DIRECT", "subtype": "AGGREGATION"},
        {"type": "INDIRECT", "subtype": "FILTER"},
    ]
    assert by_field["carrier"]["transformations"][0]["type"] == "INDIRECT"
    assert by_field["arr_delay"]["name"] == str(whole.config.path("data/flights.parquet"))


def test_a_source_that_lies_elsewhere_here_is_named_by_where_it_lies(whole: FeatureStore) -> None:
    settings = whole.config.root / "featurestore.toml"
    settings.write_text(settings.read_text() + '\n[sources.flights]\npath = "/mnt/flights.parquet"\n')
    with FeatureStore(whole.config.root) as moved:
        events = moved.lineage("delays").to_openlineage()
    inputs = {one["name"] for event in events for one in event["inputs"]}
    assert "/mnt/flights.parquet" in inputs
