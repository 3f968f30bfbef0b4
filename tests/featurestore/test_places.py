"""A definition knows the line that built it, and nothing else about it changes by that."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from featurestore.definitions import Entity, FeatureView, Field, content_hash
from featurestore.errors import DefinitionError, FeatureStoreError, RegistryError, about
from featurestore.places import place_of
from featurestore.types import Float64

HERE = str(Path(__file__)).removeprefix(f"{Path.cwd()}/")


def line() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_a_definition_remembers_the_line_where_the_call_begins() -> None:
    view, at = FeatureView(
        name="weather",
        entities=[Entity(name="airport")],
        schema=[Field(name="temp", dtype=Float64)],
    ), line()  # fmt: skip
    assert place_of(view) == f"{HERE}:{at - 4}"
    assert place_of(view.entities[0]) == f"{HERE}:{at - 2}"
    assert place_of(view.schema[0]) == f"{HERE}:{at - 1}"


def test_a_changed_copy_was_built_where_it_was_changed() -> None:
    airport = Entity(name="airport")
    other, at = replace(airport, description="one of three"), line()
    assert place_of(other) == f"{HERE}:{at}"


def test_a_choice_of_features_was_built_where_it_was_made() -> None:
    view = FeatureView(name="w", entities=[Entity(name="a")], schema=[Field(name="temp", dtype=Float64)])
    chosen, at = view[["temp"]], line()
    assert place_of(chosen) == f"{HERE}:{at}"


def test_the_place_is_in_no_comparison_no_hash_and_no_stored_form() -> None:
    first = Entity(name="airport")
    second = Entity(name="airport")
    assert place_of(first) != place_of(second)
    assert first == second
    assert repr(first) == repr(second)
    assert content_hash(first) == content_hash(second)
    assert (first.spec(), first.notes()) == (second.spec(), second.notes())


def test_a_definition_passes_between_processes_with_its_place() -> None:
    airport = Entity(name="airport")
    for passed in (pickle.loads(pickle.dumps(airport)), copy.deepcopy(airport)):
        assert passed == airport
        assert place_of(passed) == place_of(airport)


def test_what_comes_from_a_registry_was_built_nowhere() -> None:
    airport = Entity(name="airport")
    built = {}
    exec(  # a module of this package that builds one
        "def decode(entity, spec, notes): return entity.from_spec(spec, notes)",
        {"__name__": "featurestore.registry.versions"},
        built,
    )
    assert place_of(built["decode"](Entity, airport.spec(), airport.notes())) == ""


def test_an_error_at_build_names_the_line_and_says_it_once() -> None:
    with pytest.raises(DefinitionError) as caught:
        Entity(name="air port")
    assert caught.value.where == f"{HERE}:{line() - 1}"
    assert str(caught.value).splitlines()[0] == f"{caught.value.where}: 'air port' cannot name an entity."
    assert caught.value.message == "'air port' cannot name an entity."
    passed = pickle.loads(pickle.dumps(caught.value))
    assert str(passed) == str(caught.value)


def test_an_error_of_no_definition_names_no_line() -> None:
    from featurestore.registry.identity import check_identity_name

    with pytest.raises(DefinitionError) as caught:
        check_identity_name("a b")
    assert caught.value.where == ""


def test_an_error_about_a_definition_gets_its_place_unless_it_has_one() -> None:
    airport = Entity(name="airport")
    with pytest.raises(FeatureStoreError) as caught, about(airport):
        raise RegistryError("No.")
    assert caught.value.where == place_of(airport)
    with pytest.raises(FeatureStoreError) as caught, about(airport):
        raise RegistryError("No.", where="definitions.py:7")
    assert caught.value.where == "definitions.py:7"


def test_finding_the_line_of_a_long_file_is_put_off_until_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "definitions.py"
    file.write_text("from featurestore import Entity\n" + "".join(f"e{n} = Entity(name='e{n}')\n" for n in range(3000)))
    names: dict[str, object] = {"__name__": "definitions"}
    exec(compile(file.read_text(), str(file), "exec"), names)
    assert [place_of(names[f"e{n}"]) for n in (0, 2999)] == [f"{file}:2", f"{file}:3001"]
