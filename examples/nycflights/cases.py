"""What the features of ``definitions.py`` must be: ``featurestore test`` runs these."""

from featurestore.testing import FeatureCase

# Landed at 06:00 + 10 min of delay + 60 in the air, and known four hours later, at the next full hour.
a_flight_counts_once_it_has_landed = FeatureCase(
    of="carrier_delays",
    given={
        "flights": [
            {
                "carrier": "AA",
                "time_hour": "2013-01-01T06:00Z",
                "minute": 0,
                "dep_delay": 10,
                "air_time": 60,
                "arr_delay": 20,
            },
            {
                "carrier": "AA",
                "time_hour": "2013-01-01T06:00Z",
                "minute": 5,
                "dep_delay": 0,
                "air_time": 60,
                "arr_delay": -4,
            },
            {
                "carrier": "AA",
                "time_hour": "2013-01-01T06:00Z",
                "minute": 5,
                "dep_delay": 0,
                "air_time": 60,
                "arr_delay": None,
            },
        ]
    },
    expect=[
        {
            "carrier": "AA",
            "known_at": "2013-01-01T12:00Z",
            "flights_7d": 2,
            "mean_arr_delay_7d": 8.0,
            "late_share_7d": 0.5,
        }
    ],
)

wind_chill_is_for_the_cold = FeatureCase(
    of="flight_context",
    ask=[
        {"temp": 20.0, "wind_speed": 10.0},
        {"temp": 60.0, "wind_speed": 10.0},
        {"temp": None, "wind_speed": 10.0},
    ],
    expect=[{"wind_chill": 8.85}, {"wind_chill": 60.0}, {"wind_chill": None}],
    tolerance=0.001,
)

FLIGHT = {"origin": "JFK", "tailnum": "N1", "carrier": "AA", "distance": 100, "sched_hour": 12}

weather_is_of_no_use_after_three_hours = FeatureCase(
    of="flight_delay",
    given={
        "weather": [{"origin": "JFK", "time_hour": "2013-01-01T06:00Z", "temp": 60.0, "wind_speed": 10.0}],
        "plane_facts": [{"tailnum": "N1", "registered_at": "2001-01-01T00:00Z", "seats": 180}],
    },
    ask=[
        FLIGHT | {"event_timestamp": "2013-01-01T09:00Z"},
        FLIGHT | {"event_timestamp": "2013-01-01T09:00:00.000001Z"},
    ],
    expect=[
        {"temp": 60.0, "wind_chill": 60.0, "seat_miles": 18_000, "weather__status": "PRESENT"},
        {"temp": None, "wind_chill": None, "seat_miles": 18_000, "weather__status": "OUTSIDE_MAX_AGE"},
    ],
)

a_temperature_that_cannot_be = FeatureCase(
    of="weather",
    given={"weather": [{"origin": "JFK", "time_hour": "2013-01-01T06:00Z", "temp": 400.0}]},
    quarantined={"weather": 1},
)
