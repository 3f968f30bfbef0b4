"""Services that are compiled to be served."""

from __future__ import annotations

import pytest

from featurestore.client import FeatureClient
from featurestore.definitions import FeatureService, FeatureView, Field, OnDemandFeatureView
from featurestore.definitions.functions import PythonFunction
from featurestore.errors import ServingError
from featurestore.online import MemoryStore
from featurestore.registry.records import Registered
from featurestore.serving.lookup import Lookups
from featurestore.serving.plan import ServicePlan, Unserved
from featurestore.serving.routing import canaries
from featurestore.serving.runtime import compile_plans
from featurestore.types import Float64
from tests.services import registered


def service(view: FeatureView, version: int = 1, packages: tuple[str, ...] = ()) -> Registered[FeatureService]:
    double = OnDemandFeatureView(
        name="double",
        inputs=[view],
        schema=[Field(name="out", dtype=Float64)],
        function=PythonFunction(
            source='def double(rows):\n    return {"out": rows["temp"] * 2}\n',
            packages=packages,
            examples=({"temp": 1.0, "out": 2.0},),
        ),
    )
    definition = FeatureService(name=f"with_{view.name}", features=[double])
    return registered(definition, version, **{view.name: 1, "double": 1})


def test_a_service_that_cannot_be_compiled_costs_its_own_requests_and_no_others(
    views: dict[str, FeatureView],
) -> None:
    fine = service(views["weather"])
    broken = service(views["weather"], 2, packages=("no-such-package",))
    services = {"with_weather": fine, "fine": fine, "broken": broken, fine.id: fine, broken.id: broken}
    plans = compile_plans(services)
    assert {name: type(plan) for name, plan in plans.items()} == {
        "with_weather": ServicePlan,
        "fine": ServicePlan,
        "broken": Unserved,
        "with_weather@1": ServicePlan,
        "with_weather@2": Unserved,
    }
    client = FeatureClient(transport=Lookups(MemoryStore(), plans, max_rows=5).transport)
    assert client.get_online_features("fine", {"origin": ["JFK"]}).to_dict() == {"out": [None]}
    with pytest.raises(ServingError, match=r'cannot be served here: .*needs the package "no-such-package"') as caught:
        client.get_online_features("broken", {"origin": ["JFK"]})
    assert "pip install no-such-package" in caught.value.hint
    assert canaries(services, plans, {"with_weather": (2, 0.5)}) == {}, (
        "a canary that cannot answer is given no requests"
    )
