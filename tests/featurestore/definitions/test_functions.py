"""An on-demand function is kept as text that runs anywhere, or is refused when it is decorated."""

from __future__ import annotations

import importlib.util
import json
import math
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal as Exact
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from featurestore import types
from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    OnDemandFeatureView,
    content_hash,
    on_demand_feature_view,
)
from featurestore.definitions.functions import PythonFunction
from featurestore.errors import DefinitionError

WEATHER = FeatureView(
    name="weather",
    entities=[Entity(name="airport")],
    schema=[Field(name="temp", dtype=types.Float64), Field(name="wind", dtype=types.Float64)],
)
CHILL = Field(name="chill", dtype=types.Float64)
EXAMPLE = {"temp": 30.0, "wind": 10.0, "chill": 25.0}

HEAD = """
import datetime as clock
import math
import polars as pl
from featurestore import Entity, FeatureView, Field, on_demand_feature_view
from featurestore.types import Float64

weather = FeatureView(name="weather", entities=[Entity(name="airport")], schema=[Field(name="temp", dtype=Float64)])
factor = 2.0
chill = on_demand_feature_view(
    inputs=[weather], schema=[Field(name="felt", dtype=Float64)], examples=[{"temp": 1.0, "felt": 1.0}]
)
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], ModuleType]:
    """Run a definitions file that begins with HEAD."""

    def run(text: str) -> ModuleType:
        # A folder each: Python takes a file of the same second and size for the one that it compiled before.
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        path = folder / "definitions.py"
        path.write_bytes((HEAD + text).encode())
        spec = importlib.util.spec_from_file_location("definitions", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return run


def body(text: str) -> str:
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    return f"@chill\ndef view(rows: pl.DataFrame) -> dict[str, pl.Series]:\n{lines}"


def chill(**parts: Any) -> OnDemandFeatureView:
    given: dict[str, Any] = {"inputs": [WEATHER], "schema": [CHILL], "examples": [EXAMPLE], **parts}

    @on_demand_feature_view(**given)
    def felt(rows: pl.DataFrame) -> pl.DataFrame:
        # Half of the wind.
        return rows.select(chill=pl.col("temp") - pl.col("wind") / 2)

    return felt


def source(view: OnDemandFeatureView) -> str:
    assert view.function is not None
    return view.function.source


def test_the_text_is_kept_without_its_decorator_and_indentation() -> None:
    assert chill().name == "felt"
    assert source(chill()) == (
        "def felt(rows: pl.DataFrame) -> pl.DataFrame:\n"
        "    # Half of the wind.\n"
        '    return rows.select(chill=pl.col("temp") - pl.col("wind") / 2)'
    )


SEVERAL_LINES = '''
def view(rows: pl.DataFrame) -> pl.DataFrame:
    query = f"""
        SELECT temp * {len("ab")
        } AS felt
FROM self"""
    return rows.sql(query)
'''.strip()


def test_taking_the_indentation_away_changes_no_text_of_several_lines(run: Callable[[str], ModuleType]) -> None:
    first, _, text = SEVERAL_LINES.partition("\n    query")
    head, _, rest = text.partition("    return")
    # What a formatter makes of it under an `if`: the lines of the text stay where they were.
    view = run(f"if True:\n    @chill\n    {first}\n        query{head}        return{rest}\n").view
    assert source(view) == SEVERAL_LINES
    assert content_hash(view) == content_hash(run(f"@chill\n{SEVERAL_LINES}\n").view)


def test_line_ends_of_another_system_give_the_same_hash(run: Callable[[str], ModuleType]) -> None:
    text = body('return {"felt": rows["temp"]}')
    unix, dos = run(text).view, run(text.replace("\n", "\r\n")).view
    assert content_hash(unix) == content_hash(dos)
    assert "\r" not in source(dos)


def test_a_hash_is_what_it_was_in_the_first_release() -> None:
    made = chill(packages=["numpy"], name="golden")
    assert content_hash(made) == "6aab73e4a0d29793904af0c928e977eb680d7c4274683a2b5b2bcf6975a751d6"


def test_text_and_packages_make_a_version_and_examples_and_descriptions_do_not(
    run: Callable[[str], ModuleType],
) -> None:
    one = content_hash(chill())
    assert content_hash(chill(packages=["numpy"])) != one
    assert content_hash(chill(packages=["numpy", "scipy"])) == content_hash(chill(packages=["SciPy", "numpy"]))
    assert content_hash(chill(examples=[EXAMPLE, EXAMPLE], description="d", owner="o", tags={"a": "b"})) == one
    first, second = (run(body(f'return {{"felt": rows["temp"] * {one}}}')).view for one in (1, 2))
    assert content_hash(first) != content_hash(second)


def stored(value: Any) -> Any:
    """Return what comes back from a database's text."""
    return json.loads(json.dumps(value, allow_nan=False))


VALUES: dict[str, tuple[types.DType, Any]] = {
    "truth": (types.Bool, True),
    "small": (types.Int32, -7),
    "whole": (types.Int64, 2**63 - 1),
    "short": (types.Float32, 0.5),
    "nan": (types.Float64, math.nan),
    "infinite": (types.Float64, -math.inf),
    "text": (types.String, "NaN"),
    "blob": (types.Bytes, b"\x00\xff"),
    "day": (types.Date, date(2013, 1, 31)),
    "instant": (types.Timestamp, datetime(2013, 1, 31, 7, 0, 0, 1, tzinfo=UTC)),
    "exact": (types.Decimal(10, 2), Exact("1.10")),
    "several": (types.Array(types.Date), [date(2013, 1, 31), None]),
    "vector": (types.Embedding(2), [0.5, math.nan]),
    "parts": (types.Struct({"a": types.Int64, "b": types.Array(types.String)}), {"a": 1, "b": []}),
    "absent": (types.Int64, None),
}


def test_a_view_with_examples_of_every_type_comes_back_from_its_text() -> None:
    request = [Field(name=name, dtype=dtype) for name, (dtype, _) in VALUES.items()]
    row = EXAMPLE | {name: value for name, (_, value) in VALUES.items()}
    view = chill(request=request, examples=[row, EXAMPLE], packages=["numpy"])
    again = OnDemandFeatureView.from_spec(stored(view.spec()), stored(view.notes()))
    assert again.spec() == view.spec()
    assert again.notes() == view.notes()
    assert again == view
    service = FeatureService(name="service", features=[WEATHER, view])
    assert FeatureService.from_spec(stored(service.spec()), stored(service.notes())) == service


ROWS = 'return {"felt": rows["temp"]}'


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        # What is no plain function
        ("view = chill(lambda rows: rows)", "is made of a lambda", "def name"),
        ("view = chill(math.sqrt)", "is made of <built-in", "Decorate def"),
        ("view = chill(type('C', (), {}))", "is made of <class", "Decorate def"),
        ("class C:\n    @chill\n    def f(self, rows): return rows", "is made of a method", "out of its class"),
        ("class C:\n    def f(self): return 1\nchill(C().f)", "is made of a method", "Decorate def"),
        (
            "def make(by):\n    @chill\n    def f(rows: pl.DataFrame) -> dict:\n        return rows * by\nmake(2)",
            'a closure over "by"',
            "inside the function",
        ),
        ("@chill\nasync def f(rows): return rows", "an async function", "without async"),
        ("@chill\ndef f(rows):\n    yield rows", "a generator", "return, not yield"),
        (
            "def twice(f): return f\n@chill\n@twice\ndef f(rows: pl.DataFrame) -> pl.DataFrame: return rows",
            "with another decorator",
            "do inside",
        ),
        (
            "import functools\ndef f(rows): return rows\nchill(functools.wraps(f)(lambda rows: f(rows)))",
            "with another decorator",
            "do inside",
        ),
        ("exec('def f(rows): return rows')\nchill(f)", "source of its function is not at hand", "in a file"),
        # Its arguments and types
        ("@chill\ndef f(): return 1", "other arguments than one batch", "def f(rows: pl.DataFrame)"),
        ("@chill\ndef f(rows: pl.DataFrame, by=2): return rows", "other arguments", "def f(rows: pl.DataFrame)"),
        ("@chill\ndef f(*rows): return rows", "other arguments", "def f(rows"),
        ("@chill\ndef f(rows): return rows", 'type of its argument "rows"', "def f(rows: pl.DataFrame)"),
        ("@chill\ndef f(rows: pl.DataFrame): return rows", "type of its result", "-> pl.DataFrame"),
        (
            "import pandas as pd\n@chill\ndef f(rows: pd.DataFrame) -> pd.DataFrame: return rows",
            'argument "rows" is pd.DataFrame',
            "pl.DataFrame",
        ),
        ("@chill\ndef f(rows: pl.DataFrame) -> float: return 1.0", "result is float", "dict[str, pl.Series]"),
        # Its module
        (body('return {"felt": rows["temp"] * factor}'), 'uses "factor", which is not.*line 2', "inside the function"),
        (body('return {"felt": math.sqrt(rows["temp"])}'), 'uses "math"', "import math"),
        (body('x = [clock for _ in "a"]'), 'uses "clock"', "import datetime as clock"),
        (body('def inner():\n    return missing\nreturn {"felt": inner()}'), 'uses "missing".*line 3', "inside"),
        (body("global count\ncount = 1\n" + ROWS), 'uses "count".*line 2', "inside"),
        ("sum = len\n" + body('return {"felt": sum(rows)}'), 'uses "sum"', "inside"),
        (
            "pl = math\n"
            + body("return pl.sqrt(2)").replace("pl.DataFrame", "'DataFrame'").replace("dict[str, pl.Series]", "dict"),
            'uses "pl", which is not Polars',
            "Rename",
        ),
        # Its imports
        (body("import numpy as np\n" + ROWS), 'imports "numpy", which is neither', r'packages=["numpy"]'),
        (body("from scipy.stats import norm\n" + ROWS), 'imports "scipy"', r'packages=["scipy"]'),
        (body("from . import beside\n" + ROWS), "from beside its module", "inside the function"),
        # What is no function of its rows
        (body("import datetime as dt\ndt.datetime.now()"), r"uses datetime.datetime.now \(line 3\)", "request field"),
        (body("from datetime import datetime\nnow = datetime.utcnow"), "uses datetime.datetime.utcnow", "request"),
        (body("from datetime import date\ndate.today()"), "uses datetime.date.today", "request field"),
        (body("import time\ntime.time()"), "uses time", "request field"),
        (body("import random"), "uses random", "request field"),
        (body("from random import gauss as g"), "uses random.gauss", "request field"),
        (body("from uuid import uuid4\nuuid4()"), "uses uuid.uuid4", "request field"),
        (body("import os\nos.path"), "uses os", "request field"),
        (body("import numpy.random as r"), "uses numpy.random", "request field"),
        (body("import numpy as np\nnp.random.rand()"), "uses numpy.random.rand", "request field"),
        (body('pl.read_csv("a.csv")'), "uses polars.read_csv", "request field"),
        (body('open("a.csv")'), r"uses open \(line 2\)", "request field"),
        (body('hash("a")'), "uses hash", "request field"),
        (body('eval("1")'), "uses eval", "request field"),
    ],
)
def test_what_would_not_give_the_same_elsewhere_is_refused_with_a_hint(
    run: Callable[[str], ModuleType], text: str, message: str, hint: str
) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        run(text)
    assert "On-demand feature view" in caught.value.message
    assert hint in caught.value.hint
    assert "definitions.py:" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        body("import math, datetime as dt\nfrom statistics import fmean\nnow = dt.datetime(2013, 1, 1)\n" + ROWS),
        body("id, input = 1, 2\nopen = id + input\n" + ROWS),
        body("try:\n    pass\nexcept ValueError as error:\n    print(error, len(rows))\n" + ROWS),
        body("class Inner:\n    by = 2\n    def twice(self): return self.by\n" + ROWS),
        body('squares = {x: y for x in range(3) if (y := x * x)}\nreturn {"felt": rows["temp"] * squares[1]}'),
        body("import polars\nimport polars.selectors as cs\n" + ROWS),
        "@chill\ndef view(rows: 'pl.DataFrame') -> 'pl.DataFrame': return rows",
        "from polars import DataFrame\n@chill\ndef view(rows: DataFrame) -> DataFrame: return rows",
        "from collections.abc import Mapping\n@chill\n"
        "def view(rows: pl.DataFrame) -> Mapping[str, pl.Series]:\n    x: Unheard = 1\n    y: Of\n    " + ROWS,
        "if True:\n    def view(rows: pl.DataFrame) -> pl.DataFrame:\n        return rows\n    view = chill(view)",
    ],
)
def test_what_gives_the_same_anywhere_is_taken(run: Callable[[str], ModuleType], text: str) -> None:
    assert isinstance(run(text).view, OnDemandFeatureView)


def test_a_package_is_known_by_the_name_under_which_it_is_installed(run: Callable[[str], ModuleType]) -> None:
    head = 'chill = on_demand_feature_view(inputs=[weather], schema=[Field(name="felt", dtype=Float64)], '
    head += 'examples=[{"temp": 1.0, "felt": 1.0}], packages=["Protobuf", "numpy"])\n'
    view = run(head + body("import numpy.linalg\nfrom google.protobuf import message\n" + ROWS)).view
    assert view.function.packages == ("numpy", "protobuf")
    with pytest.raises(DefinitionError, match='imports "grpc"'):
        run(head + body("import grpc\n" + ROWS))


@pytest.mark.parametrize(
    ("build", "message", "hint"),
    [
        (lambda: chill(packages=["numpy>=2"]), "'numpy>=2' among its packages", "plain names, without versions"),
        (lambda: chill(packages=["two words"]), "no name of one", "plain names"),
        (lambda: chill(packages="numpy"), "one text as its packages", 'packages=["numpy"]'),
        (lambda: chill(examples=[]), "has no example", '{"temp": ..., "wind": ..., "chill": ...}'),
        (lambda: chill(examples=EXAMPLE), "examples, not a list", "examples=[...]"),
        (lambda: chill(examples=[3]), 'Example 1 of on-demand feature view "felt" is 3', "column and value"),
        (lambda: chill(examples=[EXAMPLE, EXAMPLE | {"tmp": 1.0}]), 'Example 2 .* has "tmp"', '"temp"'),
        (lambda: chill(examples=[{"temp": 1.0}]), 'does not say which "chill"', 'Add "chill"'),
        (lambda: chill(examples=[EXAMPLE | {"wind": "x"}]), "\"wind\" in example 1 .* is 'x'", "a number"),
        (lambda: chill(name="a b"), "'a b' cannot name", "starts with a letter"),
        (
            lambda: OnDemandFeatureView(
                name="both", inputs=[WEATHER], schema=[CHILL], expressions={"chill": "temp"}, function=chill().function
            ),
            "both expressions and a function",
            "two views",
        ),
        (
            lambda: OnDemandFeatureView(name="wrong", inputs=[WEATHER], schema=[CHILL], function=len),  # type: ignore[arg-type]
            "<built-in function len> as its function",
            "@on_demand_feature_view",
        ),
        (lambda: OnDemandFeatureView(name="none", inputs=[WEATHER], schema=[CHILL]), "has no expression", "Add"),
    ],
)
def test_parts_that_do_not_go_together_are_refused_with_a_hint(
    build: Callable[[], object], message: str, hint: str
) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        build()
    assert hint in caught.value.hint


def test_a_version_in_the_registry_is_held_to_no_rule_that_came_after_it() -> None:
    """Versions are immutable: what was taken once can be read for ever, whatever decorators refuse by then."""
    spec = chill().spec() | {"function": {"source": "def felt(rows): return now", "packages": []}}
    again = OnDemandFeatureView.from_spec(spec, chill().notes())
    assert again.function == PythonFunction(source="def felt(rows): return now", packages=(), examples=(EXAMPLE,))
