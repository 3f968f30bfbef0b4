"""Features for predicting how late a flight from New York will arrive.

``featurestore plan`` shows what applying this file would change; ``featurestore apply`` does it.
"""

from datetime import timedelta

from featurestore import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    FileSource,
    MonitorPolicy,
    OnDemandFeatureView,
    RetrainingPolicy,
    SqlSource,
)
from featurestore.types import Float64, Int64

airport = Entity(name="airport", join_keys=["origin"], description="One of EWR, JFK, LGA")
plane = Entity(name="plane", join_keys=["tailnum"], description="An aircraft by its tail number")
carrier = Entity(name="carrier", description="An airline by its two-letter code")

# The hour's weather at the airport of departure. A reading is of no use after three hours.
weather = FeatureView(
    name="weather",
    entities=[airport],
    ttl=timedelta(hours=3),
    source=FileSource(path="data/weather/*.parquet", timestamp_field="time_hour"),
    schema=[
        Field(name="temp", dtype=Float64, not_null=True, ge=-80, le=140, description="Fahrenheit"),
        Field(name="dewp", dtype=Float64, ge=-80, le=100, description="Dew point, Fahrenheit"),
        Field(name="humid", dtype=Float64, ge=0, le=100, description="Relative humidity, percent"),
        Field(name="wind_speed", dtype=Float64, ge=0, le=200, description="Miles per hour"),
        Field(name="precip", dtype=Float64, ge=0, description="Inches"),
        Field(name="pressure", dtype=Float64, ge=850, le=1100, description="Millibars at sea level"),
        Field(name="visib", dtype=Float64, ge=0, description="Miles"),
    ],
)

# What an aircraft is does not grow old: no TTL.
plane_facts = FeatureView(
    name="plane_facts",
    entities=[plane],
    source=FileSource(path="data/planes.parquet", timestamp_field="registered_at"),
    schema=[
        Field(name="year", dtype=Int64, ge=1900, le=2100, description="Year of manufacture"),
        Field(name="seats", dtype=Int64, ge=1, le=1000),
        Field(name="engines", dtype=Int64, in_set=(1, 2, 3, 4)),
    ],
)

# A carrier's last seven days. A flight counts from when it has certainly landed: its departure, its time in the air,
# and four hours on the ground (the longest of the year spent 3 h 55 min). So no row knows a flight that was still up.
carrier_delays = FeatureView(
    name="carrier_delays",
    entities=[carrier],
    ttl=timedelta(days=2),
    source=SqlSource(
        sources=[FileSource(name="flights", path="data/flights.parquet", timestamp_field="time_hour")],
        timestamp_field="known_at",
        query="""
            WITH landed AS (
                SELECT
                    carrier,
                    arr_delay,
                    time_hour + to_minutes(minute + dep_delay + air_time) + INTERVAL 4 HOURS AS landed_at
                FROM flights
                WHERE arr_delay IS NOT NULL
            ),
            hourly AS (
                SELECT
                    carrier,
                    date_trunc('hour', landed_at) + INTERVAL 1 HOUR AS known_at,
                    count(*) AS flights,
                    sum(arr_delay) AS delay,
                    count(*) FILTER (WHERE arr_delay > 15) AS late
                FROM landed
                GROUP BY ALL
            )
            SELECT
                carrier,
                known_at,
                CAST(sum(flights) OVER week AS BIGINT) AS flights_7d,
                sum(delay) OVER week / sum(flights) OVER week AS mean_arr_delay_7d,
                sum(late) OVER week / sum(flights) OVER week AS late_share_7d
            FROM hourly
            WINDOW week AS (
                PARTITION BY carrier ORDER BY known_at RANGE BETWEEN INTERVAL 7 DAYS PRECEDING AND CURRENT ROW
            )
        """,
    ),
    schema=[
        Field(name="flights_7d", dtype=Int64, not_null=True, ge=1),
        Field(name="mean_arr_delay_7d", dtype=Float64, not_null=True, description="Minutes; early is negative"),
        Field(name="late_share_7d", dtype=Float64, not_null=True, ge=0, le=1, description="Over 15 minutes late"),
    ],
)

# Computed for each request from stored features and from what only the caller knows; the same code makes training sets.
flight_context = OnDemandFeatureView(
    name="flight_context",
    inputs=[weather, plane_facts, carrier_delays],
    request=[
        Field(name="distance", dtype=Int64, description="Miles to the destination"),
        Field(name="sched_hour", dtype=Int64, description="Scheduled hour of departure, local time"),
    ],
    schema=[
        Field(name="seat_miles", dtype=Float64),
        Field(name="wind_chill", dtype=Float64, description="The US National Weather Service's formula of 2001"),
        Field(name="knock_on_delay", dtype=Float64, description="Delays pile up over the day"),
    ],
    expressions={
        "seat_miles": "seats * distance",
        "wind_chill": """
            CASE WHEN temp <= 50 AND wind_speed > 3
                 THEN 35.74 + 0.6215 * temp - 35.75 * power(wind_speed, 0.16) + 0.4275 * temp * power(wind_speed, 0.16)
                 ELSE temp
            END
        """,
        "knock_on_delay": "mean_arr_delay_7d * sched_hour / 24.0",
    },
)

flight_delay = FeatureService(name="flight_delay", features=[weather, plane_facts, carrier_delays, flight_context])

# Days are compared with days; on average at least 2160 of them pass between two false alarms. The rehearsal leaves out
# most days and ends long after its training data, so what watches volume, freshness and age would be right to complain.
flight_delay_drift = MonitorPolicy(
    name="flight_delay_drift",
    service=flight_delay,
    window=timedelta(days=1),
    average_run_length=2160,
    quality=False,
    routes=["ops", "screen"],
    # What a new model is trained on: the flights up to when it is asked for, with how late they were.
    retrain=RetrainingPolicy(
        entity_rows="""
            SELECT origin, tailnum, carrier, distance, hour AS sched_hour, time_hour, arr_delay
            FROM flights
            WHERE arr_delay IS NOT NULL
        """
    ),
)
