"""The client of the gRPC server, thin: it needs grpcio, protobuf and numpy, and nothing else of this package's.

with FeatureClient("localhost:6566") as client:
    rows = client.get_online_features(features="flight_delay", entity_rows=[{"origin": "JFK", ...}])
    rows.to_dict()

What is said and understood is in ``conversation``, without input or output; ``blocking`` and ``asynchronous`` each
drive it over connections of a ``pool``, with ``attempts`` within a deadline; ``streaming`` shares one call between
coroutines. ``signals`` is the client of another server, the monitor.
"""

from featurestore.client.answer import OnlineFeatures
from featurestore.client.asynchronous import AsyncFeatureClient
from featurestore.client.blocking import FeatureClient, Transport
from featurestore.client.feedback import Logged
from featurestore.client.pushed import Pushed
from featurestore.client.signals import SignalClient
from featurestore.client.streaming import FeatureStream

__all__ = [
    "AsyncFeatureClient",
    "FeatureClient",
    "FeatureStream",
    "Logged",
    "OnlineFeatures",
    "Pushed",
    "SignalClient",
    "Transport",
]
