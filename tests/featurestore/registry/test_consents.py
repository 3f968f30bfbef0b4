"""Views of another project: found, pinned, guarded; its owner's word counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest

from featurestore import types
from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    Model,
    MonitorPolicy,
    OnDemandFeatureView,
    PromotionPolicy,
    SharedFeatureView,
    SharedView,
    on_demand_feature_view,
    storage_id,
)
from featurestore.errors import (
    BreakingChangeError,
    DefinitionError,
    FeatureStoreError,
    ObjectInUseError,
    ObjectNotFoundError,
    RegistryError,
)
from featurestore.registry import Registry, open_registry, planfile

SHOP = Entity(name="shop", join_keys=["shop_id"])
TEMP, WIND = Field(name="temp", dtype=types.Float64, tags={"unit": "F"}), Field(name="wind", dtype=types.Float64)
WEATHER = FeatureView(name="weather", entities=[SHOP], schema=[TEMP, WIND], description="Hourly")
WARMER = replace(WEATHER, ttl=timedelta(hours=3))
SHARED = SharedView("sales/weather")
CAMPAIGN = FeatureService(name="campaign", features=[SHARED])


@pytest.fixture
def sales(url: str) -> Iterator[Registry]:
    """The owner, with a view."""
    with open_registry(url, "sales") as opened:
        opened.apply([WEATHER], who="ada")
        yield opened


@pytest.fixture
def ads(url: str, sales: Registry) -> Iterator[Registry]:
    """Another project, which may use it."""
    sales.share("weather", "ads", who="ada")
    with open_registry(url, "ads") as opened:
        yield opened


def line(text: str) -> str:
    """Return where a text stands in this file, as errors say it."""
    lines = Path(__file__).read_text().splitlines()
    return f"test_consents.py:{next(at for at, one in enumerate(lines, 1) if text in one)}"


def test_a_service_holds_the_owners_current_version_and_nothing_else_is_registered(
    sales: Registry, ads: Registry
) -> None:
    plan = ads.plan([CAMPAIGN])
    assert [one.name for one in plan.changes] == ["campaign"]
    assert "sales/weather@1" in plan.render()
    ads.apply([CAMPAIGN], who="eve")
    found = ads.service("campaign")
    assert found.pins == {"sales/weather": 1}
    assert [one.name for one in ads.list()] == ["campaign"]
    (view,) = found.definition.views
    assert isinstance(view, SharedFeatureView)
    assert view == SharedFeatureView.of(WEATHER, "sales")
    assert (view.project, view.name, view.description) == ("sales", "weather", "Hourly")
    assert view.schema[0].tags == {"unit": "F"}
    assert view.spec() == {**WEATHER.spec(), "project": "sales"}
    assert view.owned == WEATHER
    assert storage_id(view) == storage_id(WEATHER)
    assert ads.show("campaign")["uses"] == ["sales/weather@1"]
    assert sales.audit()[-1].action == "share"
    assert ads.verify_audit() == sales.verify_audit() == []


def test_applying_again_changes_nothing_until_the_owner_has_another_version(sales: Registry, ads: Registry) -> None:
    ads.apply([CAMPAIGN], who="eve")
    assert ads.plan([CAMPAIGN]).is_empty
    sales.apply([WARMER], who="ada")
    assert ads.service("campaign").pins == {"sales/weather": 1}
    plan = ads.apply([CAMPAIGN], who="eve")
    assert [(one.action, one.to_version) for one in plan.changed] == [("new version", 2)]
    assert "sales/weather@1 -> sales/weather@2" in plan.render().replace('"', "")
    assert ads.service("campaign").pins == {"sales/weather": 2}
    assert ads.service("campaign@1").pins == {"sales/weather": 1}
    assert ads.service("campaign@1").definition.views[0].ttl is None


def test_a_version_may_be_named(sales: Registry, ads: Registry) -> None:
    sales.apply([WARMER], who="ada")
    ads.apply([replace(CAMPAIGN, features=[SharedView("sales/weather@1")])], who="eve")
    assert ads.service("campaign").pins == {"sales/weather": 1}


def test_two_services_may_use_two_versions(sales: Registry, ads: Registry) -> None:
    sales.apply([WARMER], who="ada")
    old = FeatureService(name="old", features=[SharedView("sales/weather@1")])
    ads.apply([CAMPAIGN, old], who="eve")
    assert (ads.service("campaign").pins, ads.service("old").pins) == ({"sales/weather": 2}, {"sales/weather": 1})
    assert [one.definition.views[0].ttl for one in ads.resolved_services().values()].count(None) == 2


def test_some_features_may_be_chosen(ads: Registry) -> None:
    ads.apply([replace(CAMPAIGN, features=[SHARED[["wind"]]])], who="eve")
    assert [one.name for one in ads.service("campaign").definition.outputs["weather"]] == ["wind"]


def test_a_view_of_the_same_name_is_another_view(ads: Registry) -> None:
    mine = FeatureView(name="weather", entities=[Entity(name="street")], schema=[WIND])
    ads.apply([CAMPAIGN, FeatureService(name="mine", features=[mine])], who="eve")
    assert (ads.service("campaign").pins, ads.service("mine").pins) == ({"sales/weather": 1}, {"weather": 1})
    ads.remove("mine", who="eve")
    ads.remove("weather", who="eve")
    assert ads.service("campaign").definition.views[0].project == "sales"  # type: ignore[attr-defined]


def test_an_on_demand_view_may_take_it_as_an_input_and_a_policy_watch_the_service(ads: Registry) -> None:
    chill = OnDemandFeatureView(
        name="chill",
        inputs=[SHARED],
        schema=[Field(name="chill", dtype=types.Float64)],
        expressions={"chill": "temp - wind"},
    )
    service = FeatureService(name="campaign", features=[chill])
    policies = [MonitorPolicy(name="watch", service=service), PromotionPolicy(name="four_eyes", service=service)]
    ads.apply([*policies, chill, FeatureService(name="other", features=[chill])], who="eve")
    assert ads.get("chill").pins == {"sales/weather": 1}
    assert ads.service("campaign").pins == {"sales/weather": 1, "chill": 1}
    assert ads.get("chill").definition == ads.service("other").definition.features[0]
    assert ads.policy("watch").definition.service == ads.service("campaign").definition
    assert ads.plan([*policies, chill]).is_empty


def test_a_function_over_it_is_tried_on_its_examples_when_it_is_planned(ads: Registry) -> None:
    def feels(rows: pl.DataFrame) -> dict[str, pl.Series]:
        return {"feels": rows["temp"] - rows["wind"]}

    def build(feels_like: float) -> OnDemandFeatureView:
        return on_demand_feature_view(
            inputs=[SHARED],
            schema=[Field(name="feels", dtype=types.Float64)],
            examples=[{"temp": 50.0, "wind": 10.0, "feels": feels_like}],
        )(feels)

    with pytest.raises(DefinitionError, match="feels"):
        ads.plan([build(1.0)])
    ads.apply([build(40.0)], who="eve")
    assert ads.plan([build(40.0)]).is_empty


def test_before_the_registry_was_asked_only_the_name_is_known() -> None:
    for ask in (lambda: CAMPAIGN.views, lambda: CAMPAIGN.spec(), lambda: CAMPAIGN.outputs, lambda: CAMPAIGN.notes()):
        with pytest.raises(DefinitionError, match="only the registry knows") as caught:
            ask()
        assert caught.value.where.endswith(line('SHARED = SharedView("sales/weather")'))


@pytest.mark.parametrize(
    "reference", ["weather", "sales/", "/weather", "sales/weather@0", "a/b/c", "sales/we ather", 3]
)
def test_what_cannot_be_a_reference_is_refused_when_it_is_written(reference: str) -> None:
    with pytest.raises(DefinitionError, match="names no view of another project"):
        SharedView(reference)


def test_a_choice_of_features_is_checked_when_it_is_written() -> None:
    for features in ([], ["temp", "temp"], "temp"):
        with pytest.raises(DefinitionError, match="sales/weather"):
            SHARED[features]
    with pytest.raises(DefinitionError, match="some features"):
        OnDemandFeatureView(name="chill", inputs=[SHARED[["temp"]]], schema=[WIND], expressions={"wind": "temp"})


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("sale/weather", 'no project "sale"', 'Did you mean "sales"?'),
        ("sales/wether", 'no feature view "wether" in project "sales"', 'Did you mean "weather"?'),
        ("sales/weather@7", "no version 7", "weather@1"),
        ("sales/shop", '"shop" is an entity, not a feature view', ""),
        ("ads/weather", "this very project", "FeatureView itself"),
    ],
)
def test_what_the_registry_does_not_have_is_refused_with_place_and_hint(
    ads: Registry, reference: str, message: str, hint: str
) -> None:
    shared = SharedView(reference)  # the wrong one
    for do in (ads.plan, lambda given: ads.apply(given, who="eve")):
        with pytest.raises(DefinitionError, match=message) as caught:
            do([FeatureService(name="campaign", features=[shared])])
        assert hint in caught.value.hint
        assert caught.value.where.endswith(line("# the wrong one"))


def test_a_feature_that_it_has_not_is_refused_with_place_and_hint(ads: Registry) -> None:
    shared = SharedView("sales/weather")[["tmp"]]  # the wrong feature
    with pytest.raises(DefinitionError, match='has no feature "tmp"') as caught:
        ads.plan([FeatureService(name="campaign", features=[shared])])
    assert caught.value.hint == 'Did you mean "temp"?'
    assert caught.value.where.endswith(line("# the wrong feature"))


def test_features_that_collide_are_found_out_by_the_plan(ads: Registry) -> None:
    mine = FeatureView(name="mine", entities=[SHOP], schema=[TEMP])
    with pytest.raises(DefinitionError, match='gets a feature "temp" from "weather" and from "mine"') as caught:
        ads.plan([FeatureService(name="campaign", features=[SHARED, mine])])  # the one that collides
    assert caught.value.where.endswith(line("# the one that collides"))


@pytest.mark.usefixtures("sales")
def test_without_consent_the_owner_is_named_with_what_to_run(url: str) -> None:
    with open_registry(url, "ads") as ads:
        for do in (ads.plan, lambda given: ads.apply(given, who="eve")):
            with pytest.raises(DefinitionError, match='"sales" does not share view "weather" with project "ads"') as no:
                do([CAMPAIGN])
            assert no.value.hint.endswith("featurestore share weather --with ads")
            assert no.value.where.endswith(line('SHARED = SharedView("sales/weather")'))
        assert ads.list() == []


def test_consent_is_given_once_to_one_project_and_audited(url: str, sales: Registry) -> None:
    given = sales.share("weather", "ads", who="ada")
    assert sales.share("weather", "ads", who="bob") == given
    assert (given.reference, given.consumer, given.given_by, given.users) == ("sales/weather", "ads", "ada", ())
    entries = sales.audit(action="share")
    assert [(one.who, one.object, one.details["with"]) for one in entries] == [("ada", "weather", "ads")]
    with open_registry(url, "others") as others, pytest.raises(DefinitionError, match="does not share"):
        others.plan([CAMPAIGN])


def test_both_sides_see_the_consent_and_what_uses_it(sales: Registry, ads: Registry) -> None:
    mine = FeatureView(name="mine", entities=[SHOP], schema=[TEMP])
    ads.apply([CAMPAIGN, mine], who="eve")
    ads.share("mine", "sales", who="eve")
    assert [(one.reference, one.consumer, one.users) for one in sales.consents()] == [
        ("sales/weather", "ads", ("feature_service campaign@1",)),
        ("ads/mine", "sales", ()),
    ]
    assert [one.reference for one in ads.consents()] == ["ads/mine", "sales/weather"]


@pytest.mark.parametrize(
    ("view", "consumer", "error", "message"),
    [
        ("wether", "ads", ObjectNotFoundError, 'no feature view "wether"'),
        ("shop", "ads", ObjectNotFoundError, "is an entity"),
        ("weather@1", "ads", RegistryError, "is a version"),
        ("weather", "sales", RegistryError, "is this project"),
        ("weather", "a/b", RegistryError, "cannot name a project"),
    ],
)
def test_what_cannot_be_shared_is_refused(
    sales: Registry, view: str, consumer: str, error: type[FeatureStoreError], message: str
) -> None:
    with pytest.raises(error, match=message):
        sales.share(view, consumer, who="ada")
    assert sales.consents() == []


def test_consent_is_not_withdrawn_while_something_uses_the_view(sales: Registry, ads: Registry) -> None:
    ads.apply([CAMPAIGN], who="eve")
    ads.record_dataset("clicks", {"service": "campaign@1"}, who="eve")
    ads.record_model(Model(name="ridge", service="campaign@1", dataset="clicks@1"), who="eve")
    with pytest.raises(ObjectInUseError, match=r"campaign@1, model ridge@1 \(campaign@1\)"):
        sales.unshare("weather", "ads", who="ada")
    assert len(sales.consents()) == 1
    ads.remove("ridge", who="eve")
    ads.promote("campaign@1", who="eve")
    with pytest.raises(ObjectInUseError, match=r"feature_service campaign@1, alias production \(campaign@1\)"):
        sales.unshare("weather", "ads", who="ada")
    ads.demote("campaign", "production", who="eve")
    ads.remove("campaign", who="eve")
    sales.unshare("weather", "ads", who="ada")
    assert sales.consents() == []
    assert (sales.audit()[-1].action, sales.audit()[-1].details["with"]) == ("unshare", "ads")
    with pytest.raises(ObjectNotFoundError, match='not shared with project "ads"'):
        sales.unshare("weather", "ads", who="ada")
    with pytest.raises(DefinitionError, match="does not share"):
        ads.apply([CAMPAIGN], who="eve")
    assert ads.service("campaign@1").definition.views[0].name == "weather"  # what was made can be read for ever


def test_an_on_demand_view_of_its_own_uses_the_view_too(sales: Registry, ads: Registry) -> None:
    chill = OnDemandFeatureView(name="chill", inputs=[SHARED], schema=[WIND], expressions={"wind": "temp"})
    with pytest.raises(DefinitionError, match='names "wind" twice'):
        ads.apply([chill], who="eve")
    chill = replace(chill, schema=[replace(WIND, name="chill")], expressions={"chill": "temp"})
    ads.apply([chill], who="eve")
    with pytest.raises(ObjectInUseError, match="on_demand_feature_view chill@1"):
        sales.unshare("weather", "ads", who="ada")


def test_a_shared_view_is_not_deleted_and_its_users_elsewhere_are_named(sales: Registry, ads: Registry) -> None:
    with pytest.raises(ObjectInUseError, match=r'project "ads" \(by consent\)'):
        sales.remove("weather", who="ada")
    ads.apply([CAMPAIGN], who="eve")
    with pytest.raises(ObjectInUseError, match='feature_service campaign@1 of project "ads"'):
        sales.remove("weather", who="ada")
    assert sales.show("weather")["used_by"] == ['feature_service campaign@1 of project "ads"']
    with pytest.raises(ObjectInUseError, match="weather is used by"):
        sales.apply([SHOP], who="ada", prune=True)
    ads.remove("campaign", who="eve")
    sales.unshare("weather", "ads", who="ada")
    sales.remove("weather", who="ada")
    with pytest.raises(DefinitionError, match="was removed"):
        ads.plan([CAMPAIGN])


def test_a_break_at_the_owners_breaks_the_service_only_when_it_is_applied_again(sales: Registry, ads: Registry) -> None:
    ads.apply([CAMPAIGN], who="eve")
    sales.apply([replace(WEATHER, schema=[TEMP])], who="ada", allow_breaking=True)
    assert [one.name for one in ads.service("campaign").definition.outputs["weather"]] == ["temp", "wind"]
    with pytest.raises(BreakingChangeError, match='"wind" is removed'):
        ads.apply([CAMPAIGN], who="eve")


def test_a_saved_plan_applies_the_version_that_it_was_made_with(sales: Registry, ads: Registry, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    planfile.save(ads.plan([CAMPAIGN]), file, who="eve")
    sales.apply([WARMER], who="ada")
    saved = planfile.read(file)
    ads.apply(saved.definitions, who="eve", saved=saved)
    assert ads.service("campaign").pins == {"sales/weather": 1}


def test_a_registered_service_goes_only_where_its_owner_has_the_view(url: str, sales: Registry, ads: Registry) -> None:
    ads.apply([CAMPAIGN], who="eve")
    definition = ads.service("campaign").definition
    with open_registry(url, "third") as third:
        with pytest.raises(DefinitionError, match="does not share"):
            third.apply([definition], who="eve")
        sales.share("weather", "third", who="ada")
        third.apply([definition], who="eve")
        assert third.service("campaign").content_hash == ads.service("campaign").content_hash
        unknown = replace(definition, features=[SharedFeatureView.of(replace(WEATHER, schema=[TEMP]), "sales")])
        with pytest.raises(DefinitionError, match='"sales" has no such version of view "weather"'):
            third.apply([unknown], who="eve", allow_breaking=True)
    with pytest.raises(DefinitionError, match="this very project"):
        sales.apply([definition], who="ada")


def test_of_withdrawing_and_applying_at_one_moment_one_is_refused(sales: Registry, ads: Registry) -> None:
    def attempt(do: Callable[[], object], ready: threading.Barrier) -> None:
        ready.wait()
        with suppress(ObjectInUseError, DefinitionError):
            do()

    for number in range(12):
        service = FeatureService(name=f"campaign{number}", features=[SHARED])
        ready = threading.Barrier(2)
        sides = [
            lambda service=service: ads.apply([service], who="eve"),
            lambda: sales.unshare("weather", "ads", who="ada"),
        ]
        threads = [threading.Thread(target=attempt, args=(side, ready)) for side in sides]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        used, shared = bool(ads.list("feature_service")), bool(sales.consents())
        assert used == shared
        if used:
            ads.remove(service.name, who="eve")
        else:
            sales.share("weather", "ads", who="ada")
