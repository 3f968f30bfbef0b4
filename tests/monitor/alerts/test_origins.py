"""What features are made from, as a service's definition says."""

from __future__ import annotations

from featurestore import Entity, FeatureService, FeatureView, Field, FileSource, OnDemandFeatureView
from featurestore.types import Float64
from monitor.alerts.origins import Origin, origins


def view(name: str, feature: str, source: str) -> FeatureView:
    return FeatureView(
        name=name,
        entities=[Entity(name="airport", join_keys=["airport"])],
        schema=[Field(name=feature, dtype=Float64)],
        source=FileSource(name=source, path=f"{name}.parquet", timestamp_field="at"),
    )


def test_features_lead_to_their_views_and_sources() -> None:
    weather, flights = view("weather", "temp", "weather_csv"), view("flights", "delay", "")
    both = OnDemandFeatureView(
        name="both",
        schema=[Field(name="delay_in_heat", dtype=Float64)],
        inputs=[weather, flights],
        expressions={"delay_in_heat": "delay * temp"},
    )
    service = FeatureService(
        name="flight_delay",
        features=[weather, weather.with_join_key_map({"airport": "dest"}, name="dest_weather"), both],
    )
    of_weather = Origin(views=("weather",), sources=("weather_csv",))
    assert origins(service) == {
        "temp": of_weather,
        "dest_weather__temp": of_weather,
        "delay_in_heat": Origin(views=("weather", "flights"), sources=("weather_csv", "flights.parquet")),
    }
