"""What this feature store serves and watches. Put your own in its place."""

from datetime import timedelta

from featurestore import Entity, FeatureService, FeatureView, Field, MonitorPolicy
from featurestore.types import Float64, Int64, String

user = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])

spending = FeatureView(
    name="spending",
    entities=[user],
    ttl=timedelta(days=90),
    schema=[
        Field(name="total", dtype=Float64),
        Field(name="orders", dtype=Int64),
        Field(name="plan", dtype=String),
    ],
)

churn = FeatureService(name="churn", features=[spending])

churn_drift = MonitorPolicy(name="churn_drift", service=churn, routes=["log"])
