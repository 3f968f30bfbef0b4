"""Erased keys are known again, by nobody who has not the secret."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from featurestore.config import Config, ErasureConfig
from featurestore.definitions import Entity, FeatureView, Field
from featurestore.errors import ConfigError
from featurestore.offline.erasure.suppression import Secret, members, suppressed, suppression_secret
from featurestore.registry import Registry
from featurestore.types import Float64, Int64, String

USER = Entity(name="user", join_keys=["user_id"], dtypes=[Int64])
PLACE = Entity(name="place", join_keys=["country", "town"], dtypes=[String, String])
VIEW = FeatureView(name="visits", entities=[USER, PLACE], schema=[Field(name="n", dtype=Float64)])


def suppress(registry: Registry, config: Config, entity: Entity, *keys: tuple[str, ...]) -> None:
    secret = suppression_secret(config)
    digests = {secret.digest(members(entity), one) for one in keys}
    registry.suppress(members(entity), digests, request="r", who="tests")


def test_nothing_is_suppressed_where_nobody_was_erased_and_no_secret_is_made(
    registry: Registry, config: Config
) -> None:
    assert suppressed(VIEW, registry, config) is None
    assert config.erasure_secret() is None


def test_rows_of_any_suppressed_entity_are_found(registry: Registry, config: Config) -> None:
    suppress(registry, config, USER, ("17",))
    suppress(registry, config, PLACE, ("fr", "lyon"), ("de", "bonn"))
    found = suppressed(VIEW, registry, config)
    assert found is not None
    assert set(found.columns) == {"user_id", "country", "town"}
    batch = pa.RecordBatch.from_pydict(
        {
            "user_id": [17, 18, 18, 18, None],
            "country": ["fr", "fr", "de", "fr", "fr"],
            "town": ["nice", "lyon", "lyon", "bonn", None],
        }
    )
    assert found(batch).to_pylist() == [True, True, False, False, False]
    assert found(batch.slice(0, 0)).to_pylist() == []


def test_a_key_of_another_entity_or_view_stays(registry: Registry, config: Config) -> None:
    suppress(registry, config, USER, ("17",))
    item = Entity(name="item", join_keys=["user_id"], dtypes=[Int64])
    other = FeatureView(name="items", entities=[item], schema=[Field(name="n", dtype=Float64)])
    assert suppressed(other, registry, config) is None


def test_the_registry_cannot_tell_whose_keys_they_are(registry: Registry, config: Config) -> None:
    suppress(registry, config, USER, ("17",))
    (digests,) = registry.suppressions([members(USER)]).values()
    guesses = {Secret("another secret of ours").digest(members(USER), (str(one),)) for one in range(100)}
    assert not digests & guesses
    assert suppression_secret(config).digest("user(user_id)", ("17",)) in digests
    assert suppression_secret(config).digest("item(user_id)", ("17",)) not in digests


def test_the_secret_of_the_settings_goes_before_the_file(config: Config, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the settings, long enough")
    given = config.model_copy(update={"erasure": ErasureConfig(secret="file:secret")})
    own = suppression_secret(config)
    assert suppression_secret(given).digest("a", ("1",)) != own.digest("a", ("1",))
    assert suppression_secret(config).digest("a", ("1",)) == own.digest("a", ("1",))
    assert repr(own) == "Secret()"


def test_a_secret_that_could_be_guessed_is_refused() -> None:
    with pytest.raises(ConfigError, match="too short"):
        Secret("hunter2")


def test_the_same_keys_again_are_not_new(registry: Registry, config: Config) -> None:
    secret = suppression_secret(config)
    digest = {secret.digest(members(USER), ("17",))}
    assert registry.suppress(members(USER), digest, request="r", who="tests") == 1
    assert registry.suppress(members(USER), digest, request="r", who="tests") == 0
    assert registry.lift(members(USER), digest, request="r", who="tests") == 1
    assert registry.lift(members(USER), digest, request="r", who="tests") == 0
    assert suppressed(VIEW, registry, config) is None
    assert [one.details["change"] for one in registry.audit(action="erase")] == ["suppress", "lift"]
