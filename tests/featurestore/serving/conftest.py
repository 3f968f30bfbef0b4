"""A small service over rows that are put straight into an online store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from featurestore.definitions import Entity, FeatureService, FeatureView, Field, OnDemandFeatureView, storage_id
from featurestore.materialize import RowEncoder
from featurestore.online import MemoryStore, OnlineStore
from featurestore.serving.lookup import Lookups
from featurestore.serving.plan import compile_plan
from featurestore.types import Float64, Int64, String
from tests.services import registered

NOW = datetime(2013, 1, 1, 12, tzinfo=UTC)

WEATHER = FeatureView(
    name="weather",
    entities=[Entity(name="airport", join_keys=["origin"])],
    ttl=timedelta(hours=3),
    schema=[
        Field(name="temp", dtype=Float64),
        Field(name="wind", dtype=Float64),
        Field(name="sky", dtype=String),
    ],
)
PLANE = FeatureView(
    name="plane",
    entities=[Entity(name="plane", join_keys=["tailnum"])],
    schema=[Field(name="seats", dtype=Int64)],
)
CHILL = OnDemandFeatureView(
    name="chill",
    inputs=[WEATHER],
    request=[Field(name="hour", dtype=Int64)],
    schema=[Field(name="felt", dtype=Float64), Field(name="label", dtype=String)],
    expressions={"felt": "temp - wind * 0.5 + hour", "label": "sky || '!'"},
)
SERVICES = {
    "whole": FeatureService(name="whole", features=[WEATHER, PLANE]),
    "some": FeatureService(name="some", features=[WEATHER[["sky", "temp"]]]),
    "computed": FeatureService(name="computed", features=[PLANE, CHILL]),
}


def put(store: OnlineStore, view: FeatureView, *rows: Mapping[str, Any]) -> None:
    """Put rows, as the offline store would give them, into an online store."""
    instant = pa.timestamp("us", tz="UTC")
    columns = {name: dtype.to_arrow() for name, dtype in view.keys.items()}
    columns |= {one.name: one.dtype.to_arrow() for one in view.schema}
    columns |= {"event_timestamp": instant, "created_timestamp": instant}
    columns |= {"row_number": pa.int64(), "load_order": pa.int64()}
    fixed = {"row_number": 0, "load_order": 1}
    batch = pa.RecordBatch.from_pylist([fixed | dict(row) for row in rows], schema=pa.schema(columns))
    store.put_newest(storage_id(view), [row for row in RowEncoder(view)(batch).rows if row is not None])


@pytest.fixture
def fill() -> Callable[..., None]:
    return put


@pytest.fixture
def views() -> dict[str, FeatureView]:
    return {"weather": WEATHER, "plane": PLANE}


@pytest.fixture
def lookups() -> Lookups:
    """Lookups of a rehearsal whose clock stands at 2013-01-01T12:00Z, over three services."""
    store = MemoryStore()
    store.advance(None, (NOW - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1), {})
    hour = timedelta(hours=1)
    put(
        store,
        WEATHER,
        {"origin": "JFK", "temp": 10.0, "wind": 4.0, "sky": "clear", "event_timestamp": NOW - 3 * hour},
        {"origin": "LGA", "temp": 11.0, "wind": 2.0, "sky": "grey", "event_timestamp": NOW - 3 * hour - hour / 3600},
        {"origin": "EWR", "temp": None, "wind": 1.0, "sky": None, "event_timestamp": NOW - hour},
    )
    put(store, PLANE, {"tailnum": "N1", "seats": 180, "event_timestamp": NOW - 10_000 * hour})
    plans = {name: compile_plan(registered(service, weather=4, plane=2, chill=1)) for name, service in SERVICES.items()}
    plans |= {plan.id: plan for plan in list(plans.values())}
    return Lookups(store, plans, max_rows=5, replay=True)


class Authority:
    """Signs certificates for this machine, and for its clients."""

    def __init__(self, name: str) -> None:
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        self.pem = self._sign(self._name, self._key, now - timedelta(days=1), now + timedelta(days=365), True)

    def issue(
        self, *, begins: timedelta = timedelta(days=-1), ends: timedelta = timedelta(days=90)
    ) -> tuple[bytes, bytes]:
        """Return a certificate and its key in PEM, valid from and to so long after now."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = self._sign(self._name, key, now + begins, now + ends, False)
        return certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def _sign(self, subject: x509.Name, key: Any, begins: datetime, ends: datetime, is_authority: bool) -> bytes:
        if not is_authority:
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "features")])
        names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(names, critical=False)
        )
        return built.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority("Feature CA")


@pytest.fixture(scope="session")
def stranger() -> Authority:
    """An authority that nobody here believes."""
    return Authority("Somebody")
