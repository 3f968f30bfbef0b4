"""Every kind of bad definition: the error names the object, the line that defines it, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featurestore.errors import DefinitionError
from featurestore.registry import Registry, open_registry

START = """\
from featurestore import Entity, FeatureService, FeatureView, Field, FileSource, OnDemandFeatureView, SqlSource
from featurestore.types import Array, Float64, Int64
airport = Entity(name="airport", join_keys=["origin"])
weather = FeatureView(name="weather", entities=[airport], schema=[Field(name="temp", dtype=Float64)])
"""

Load = Callable[[str], list[Any]]


@pytest.fixture
def registry(tmp_path: Path) -> Any:
    with open_registry(f"sqlite:///{tmp_path}/registry.db", "flights") as opened:
        yield opened


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return a function that runs a definitions file of :data:`START` and more, and returns what it defines."""
    from featurestore.config import Config
    from featurestore.definition_files import load_definitions

    def run(more: str) -> list[Any]:
        (tmp_path / "definitions.py").write_text(START + more)
        return list(load_definitions(Config(root=tmp_path)))

    return run


@pytest.mark.parametrize(
    ("more", "line", "message", "hint"),
    [
        pytest.param(
            'hot = FeatureView(name="weather", entities=[airport], schema=[Field(name="temp", dtype=Int64)])\n',
            5,
            'two different definitions of feature_view "weather"; the other one is in {file}:4',
            "Use one object",
            id="a duplicate name",
        ),
        pytest.param(
            '\nplace = Entity(name="weather")\n',
            6,
            '"weather" is both a feature view and an entity; the other one is in {file}:4',
            "rename one",
            id="a name of two kinds",
        ),
        pytest.param(
            'chill = OnDemandFeatureView(name="chill", inputs=[weather], schema=[Field(name="c", dtype=Float64)],\n'
            '    expressions={"c": "temp"})\n'
            'object.__setattr__(chill, "inputs", (chill,))\n',
            5,
            'On-demand feature view "chill" refers to itself: chill -> chill',
            "Take one of these references out",
            id="a cycle",
        ),
        pytest.param(
            'service = FeatureService(name="s", features=[weather[["tmp"]]])\n',
            5,
            'Feature view "weather" has no feature "tmp"',
            'Did you mean "temp"?',
            id="an unknown reference",
        ),
        pytest.param(
            'view = FeatureView(name="v", entities=[airport], source=FileSource(path="a.csv"),\n'
            '    schema=[Field(name="temps", dtype=Array(Float64))])\n',
            6,
            'Field "temps" of feature view "v" is Array(Float64), which a CSV file cannot hold',
            "Parquet",
            id="a type that the backend lacks",
        ),
        pytest.param(
            'view = FeatureView(name="v", entities=[airport],\n    schema=[Field(name="temp", dtype=float)])\n',
            6,
            'The dtype of field "temp" is',
            "Float64",
            id="a type that there is not",
        ),
        pytest.param(
            'chill = OnDemandFeatureView(name="chill", inputs=[weather], schema=[Field(name="c", dtype=Float64)],\n'
            '    expressions={"c": "tmp + 1"})\n',
            5,
            'The expression of "c" in on-demand feature view "chill" names "tmp"',
            'Did you mean "temp"?',
            id="an expression with a missing column",
        ),
        pytest.param(
            'chill = OnDemandFeatureView(name="chill", inputs=[weather], schema=[Field(name="c", dtype=Float64)],\n'
            '    expressions={"c": "temp + random()"})\n',
            5,
            'The expression of "c" in on-demand feature view "chill" uses random',
            "request field",
            id="an expression with a non-deterministic function",
        ),
        pytest.param(
            'view = FeatureView(name="v", entities=[airport], schema=[Field(name="temp", dtype=Float64)],\n'
            '    source=SqlSource(query="SELECT * FROM flight",\n'
            '        sources=[FileSource(name="flights", path="flights.csv")]))\n',
            6,
            'Feature view "v": The query of a SqlSource',
            "flights",
            id="a query over an undeclared source",
        ),
        pytest.param(
            'view = FeatureView(name="v", entities=[airport], schema=[Field(name="temp", dtype=Float64)],\n'
            '    source=SqlSource(query="SELECT *, now() AS event_timestamp FROM flights",\n'
            '        sources=[FileSource(name="flights", path="flights.csv")]))\n',
            6,
            'Feature view "v": The query of a SqlSource',
            "",
            id="a query with a non-deterministic function",
        ),
    ],
)
def test_bad_input_is_named_with_its_line_and_what_to_do(
    registry: Registry, load: Load, tmp_path: Path, more: str, line: int, message: str, hint: str
) -> None:
    file = tmp_path / "definitions.py"
    with pytest.raises(DefinitionError) as caught:
        registry.apply(load(more), who="ada")
    assert caught.value.where == f"{file}:{line}"
    assert message.format(file=file) in caught.value.message
    assert str(caught.value).count(f"{file}:{line}") == 1
    assert caught.value.hint
    assert hint in caught.value.hint
    assert registry.list() == []


def test_a_name_that_is_registered_as_another_kind_is_named_with_its_line(
    registry: Registry, load: Load, tmp_path: Path
) -> None:
    registry.apply(load(""), who="ada")
    (other,) = [one for one in load('\n\nweather = Entity(name="weather")\n') if one.name == "weather"]
    with pytest.raises(DefinitionError, match='"weather" is registered as a feature view') as caught:
        registry.plan([other])
    assert caught.value.where == f"{tmp_path / 'definitions.py'}:7"
    assert "choose another" in caught.value.hint


def test_a_circle_of_two_is_told_as_such(registry: Registry, load: Load) -> None:
    definitions = load(
        'a = OnDemandFeatureView(name="a", inputs=[weather], schema=[Field(name="x", dtype=Float64)],'
        ' expressions={"x": "temp"})\n'
        'b = OnDemandFeatureView(name="b", inputs=[weather], schema=[Field(name="y", dtype=Float64)],'
        ' expressions={"y": "temp"})\n'
        'object.__setattr__(a, "inputs", (b,))\nobject.__setattr__(b, "inputs", (a,))\n'
    )
    with pytest.raises(DefinitionError, match='"a" refers to itself: a -> b -> a'):
        registry.plan(definitions)


def test_a_breaking_change_is_named_with_its_line(registry: Registry, load: Load, tmp_path: Path) -> None:
    from featurestore.errors import BreakingChangeError

    registry.apply(load(""), who="ada")
    changed = load('weather = FeatureView(name="weather", entities=[airport], schema=[Field(name="t", dtype=Int64)])\n')
    with pytest.raises(BreakingChangeError, match='feature "temp" is removed') as caught:
        registry.apply(changed, who="ada")
    assert caught.value.where == f"{tmp_path / 'definitions.py'}:5"
