"""On-demand functions are tried on their examples, and mean the same for one row and for many, here and elsewhere."""

from __future__ import annotations

import json
import math
import struct
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal as Exact
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurestore import FeatureStore
from featurestore.definitions import (
    Entity,
    FeatureService,
    FeatureView,
    Field,
    OnDemandFeatureView,
    on_demand_feature_view,
)
from featurestore.definitions.functions import PythonFunction
from featurestore.errors import DataError, DefinitionError, InvalidRequestError
from featurestore.transforms import Transform
from featurestore.types import (
    Array,
    Bool,
    Bytes,
    Date,
    Decimal,
    DType,
    Embedding,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Struct,
    Timestamp,
)
from tests import forking

WEATHER = FeatureView(
    name="weather",
    entities=[Entity(name="airport", join_keys=["origin"])],
    schema=[Field(name="temp", dtype=Float64), Field(name="wind", dtype=Int64), Field(name="sky", dtype=String)],
)
SCHEMA = {"temp": pl.Float64(), "wind": pl.Int64(), "sky": pl.String()}


def view(
    text: str,
    dtype: DType = Float64,
    *,
    examples: Sequence[Mapping[str, Any]],
    request: Sequence[Field] = (),
    packages: Sequence[str] = (),
    default: Any = None,
) -> OnDemandFeatureView:
    """Return a view with the feature ``out`` by a function of that text."""
    inputs = [replace(one, default=default) if one.name == "temp" else one for one in WEATHER.schema]
    return OnDemandFeatureView(
        name="derived",
        inputs=[replace(WEATHER, schema=inputs)],
        request=request,
        schema=[Field(name="out", dtype=dtype)],
        function=PythonFunction(
            source="def derive(rows):\n" + "".join(f"    {line}\n" for line in text.splitlines()),
            packages=tuple(packages),
            examples=tuple(examples),
        ),
    )


def rows(**columns: list[Any]) -> pl.DataFrame:
    height = max(len(values) for values in columns.values())
    return pl.DataFrame({name: columns.get(name, [None] * height) for name in SCHEMA}, schema=SCHEMA)


SUM = 'return {"out": rows["temp"] + rows["wind"]}'
ONE = {"temp": 30.0, "wind": 10, "out": 40.0}


# ---------------------------------------------------------------------------------------------- what it gives


def test_it_gives_the_features_of_its_schema_in_the_declared_types() -> None:
    derived = Transform(view(SUM, Int32, examples=[ONE | {"out": 40}]))
    assert derived.inputs == SCHEMA
    made = derived.evaluate(rows(temp=[1.9, None, 1e300, math.nan], wind=[1, 1, 1, 1]))
    assert made.schema == {"out": pl.Int32()}
    assert made["out"].to_list() == [2, None, None, None], "cut to an integer; null where the type has no such value"


def test_a_frame_may_have_other_columns_too() -> None:
    derived = Transform(view('return rows.with_columns(out=pl.col("temp"))', examples=[ONE | {"out": 30.0}]))
    assert derived.evaluate(rows(temp=[1.0, 2.0])).to_dict(as_series=False) == {"out": [1.0, 2.0]}


def test_numbers_of_a_list_are_of_one_type_whichever_comes_first() -> None:
    text = 'return {"out": [int(one) if one == int(one) else one for one in rows["temp"]]}'
    derived = Transform(view(text, examples=[ONE | {"out": 30.0}]))
    assert derived.evaluate(rows(temp=[1.0, 2.5]))["out"].to_list() == [1.0, 2.5]


def test_no_rows_give_no_rows_and_the_function_is_not_asked() -> None:
    derived = Transform(view('assert rows.height\nreturn {"out": rows["temp"]}', examples=[ONE | {"out": 30.0}]))
    made = derived.evaluate(pl.DataFrame(schema=SCHEMA))
    assert (made.height, made.schema) == (0, {"out": pl.Float64()})


def test_columns_beside_the_inputs_are_not_shown_to_it() -> None:
    derived = Transform(view('assert rows.width == 3\nreturn {"out": rows["temp"]}', examples=[ONE | {"out": 30.0}]))
    assert derived.evaluate(rows(temp=[1.0, 2.0]).with_row_index("position__"))["out"].to_list() == [1.0, 2.0]


def test_annotations_name_what_need_not_be_there() -> None:
    one = view(SUM, examples=[ONE])
    assert one.function is not None
    source = one.function.source.replace("(rows)", "(rows: unheard.Of) -> nothing[str]")
    derived = Transform(replace(one, function=replace(one.function, source=source)))
    assert derived.evaluate(rows(temp=[1.0], wind=[2]))["out"].to_list() == [3.0]


def test_it_sees_polars_and_nothing_else_of_anyones_module() -> None:
    text = 'return {"out": pl.Series([len(set(globals()) - {"pl", "derive"})] * rows.height)}'
    names = Transform(view(text, Int64, examples=[ONE | {"out": 2}]))  # __builtins__ and __name__
    assert names.evaluate(rows(temp=[1.0]))["out"].to_list() == [2]


NUMBERS = st.none() | st.floats(width=64)
INTEGERS = st.none() | st.integers(-(2**31), 2**31)
CHILL = "35.74 + 0.6215 * temp - 35.75 * power(wind, 0.16) + wind / 24.0"


def _bits(value: float | None) -> bytes | None:
    return None if value is None else b"NaN" if math.isnan(value) else struct.pack("<d", value)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBERS, INTEGERS), min_size=1, max_size=40))
def test_a_function_gives_the_bits_of_the_expression_that_says_the_same_for_one_row_and_for_many(
    values: list[tuple[Any, Any]],
) -> None:
    frame = rows(temp=[temp for temp, _ in values], wind=[wind for _, wind in values])
    together = FUNCTION.evaluate(frame)
    alone = pl.concat([FUNCTION.evaluate(frame[at]) for at in range(frame.height)])
    expected = EXPRESSION.evaluate(frame)
    for made in (together, alone):
        assert [_bits(value) for value in made["out"]] == [_bits(value) for value in expected["out"]]


EXPRESSION = Transform(
    OnDemandFeatureView(
        name="derived", inputs=[WEATHER], schema=[Field(name="out", dtype=Float64)], expressions={"out": CHILL}
    )
)
FUNCTION = Transform(
    view(
        'temp, wind = pl.col("temp"), pl.col("wind")\n'
        "return rows.select(out=35.74 + 0.6215 * temp - 35.75 * wind.pow(0.16) + wind / 24.0)",
        examples=[{"temp": 30.0, "wind": 0, "out": 54.385}],
    )
)

TYPED: list[tuple[DType, Any]] = [
    (Bool, True),
    (Int32, 1),
    (Int64, 2**63 - 1),
    (Float32, 0.5),
    (Float64, math.nan),
    (String, "a"),
    (Bytes, b"\x00"),
    (Date, datetime(2013, 1, 1).date()),  # noqa: DTZ001 - a day has no zone
    (Timestamp, datetime(2013, 1, 1, tzinfo=UTC)),
    (Decimal(10, 2), Exact("1.10")),
    (Decimal(2, 2), Exact("0.11")),
    (Array(Float64), [1.5, None, math.nan]),
    (Array(Array(Int64)), [[1], []]),
    (Embedding(3), [0.5, 1.0, 2.0]),
    (Struct({"a": Int64, "b": Array(String)}), {"a": 1, "b": ["x", None]}),
    (Array(Struct({"a": Decimal(4, 1)})), [{"a": Exact("1.5")}]),
]


@pytest.mark.parametrize(("dtype", "value"), TYPED, ids=[repr(dtype) for dtype, _ in TYPED])
def test_every_type_goes_in_and_comes_out_of_functions_and_expressions(dtype: DType, value: Any) -> None:
    request = [Field(name="given", dtype=dtype)]
    by_function = view(
        'return {"out": rows["given"]}',
        dtype,
        examples=[{"given": value, "out": value}, {"given": None, "out": None}],
        request=request,
    )
    by_expression = replace(by_function, function=None, expressions={"out": "given"})
    frame = pl.DataFrame({"given": pl.Series([value, None, value], dtype=dtype.to_polars())})
    for derived in (Transform(by_function), Transform(by_expression)):
        for some in (frame, frame[:1]):
            made = derived.evaluate(some.with_columns(rows(temp=[None] * some.height)))["out"]
            assert made.dtype == dtype.to_polars()
            assert made.equals(some["given"].alias("out"), null_equal=True)
        assert derived.microseconds_per_request() > 0


# ------------------------------------------------------------------------------------- what it is held to


@pytest.mark.parametrize(
    ("dtype", "text", "expected"),
    [
        (Float64, '{"out": rows["temp"] / 3}', 10.0 + 1e-9),
        (Float64, '{"out": rows["temp"] * math.nan}', math.nan),
        (Float64, '{"out": rows["temp"] * math.inf}', math.inf),
        (Float32, '{"out": rows["temp"] / 3}', 10.000001),
        (Array(Float64), '{"out": [[x / 3] for x in rows["temp"]]}', [10.0 + 1e-9]),
        (Int64, '{"out": rows["temp"] * 2}', 60),
        (Struct({"a": Float64}), '{"out": [{"a": x} for x in rows["temp"]]}', {"a": 30.0 + 1e-9}),
    ],
)
def test_an_example_is_met_within_the_precision_of_its_type(dtype: DType, text: str, expected: Any) -> None:
    Transform(view(f"import math\nreturn {text}", dtype, examples=[ONE | {"out": expected}]))


@pytest.mark.parametrize(
    ("dtype", "text", "expected", "shown"),
    [
        (Float64, 'rows["temp"] / 3', 10.0 + 1e-7, '"out" is 10.0, and not 10.0000001, for .*30.0.*10'),
        (Float64, 'rows["temp"] / 3', None, '"out" is 10.0, and not None'),
        (Float64, 'rows["temp"] / 3', math.nan, '"out" is 10.0, and not nan'),
        (Float32, 'rows["temp"] / 3', 10.0001, '"out" is 10.0, and not 10.0001'),
        (Int64, 'rows["wind"]', 11, '"out" is 10, and not 11'),
        (String, 'rows["wind"].cast(pl.String)', "11", "\"out\" is '10', and not '11'"),
        (Array(Int64), '[[1]] * rows.height', [1, 1], r'"out" is \[1\], and not \[1, 1\]'),
        (Struct({"a": Int64}), '[{"a": 1}] * rows.height', {"a": 2}, '"out" is .*1.*, and not .*2'),
    ],
)  # fmt: skip
def test_an_example_that_is_not_met_shows_its_row_what_came_and_what_was_expected(
    dtype: DType, text: str, expected: Any, shown: str
) -> None:
    met = Transform(view(f'return {{"out": {text}}}', dtype, examples=[ONE | {"out": _value(text, dtype)}]))
    assert met.evaluate(rows(temp=[1.0], wind=[2])).height == 1
    examples = [ONE | {"out": _value(text, dtype)}, ONE | {"out": expected}]
    with pytest.raises(DefinitionError, match=f'Example 2 of on-demand feature view "derived": {shown}') as caught:
        Transform(view(f'return {{"out": {text}}}', dtype, examples=examples))
    assert "Correct the example" in caught.value.hint


def _value(text: str, dtype: DType) -> Any:
    frame = rows(temp=[30.0], wind=[10])
    return pl.Series(eval(text, {"rows": frame, "pl": pl}), dtype=dtype.to_polars(), strict=False).to_list()[0]


def test_an_input_that_an_example_leaves_out_has_its_default_or_is_null() -> None:
    text = 'return {"out": rows["temp"].fill_null(-1.0)}'
    Transform(view(text, examples=[{"out": -1.0}, {"temp": None, "out": -1.0}]))
    Transform(view(text, examples=[{"out": 7.0}, {"temp": None, "out": 7.0}, {"temp": 1.0, "out": 1.0}], default=7.0))


@pytest.mark.parametrize(
    ("text", "out"),
    [
        ('return {"out": rows["temp"] - rows["temp"].mean()}', 0.0),
        ('return {"out": rows["temp"].cum_sum() * 0 + rows.height}', 2.0),
        ('return {"out": rows["temp"].rank("min")}', 1.0),
        ('return {"out": rows["temp"].fill_null(strategy="forward").shift(-1).fill_null(30.0)}', 30.0),
        ('return {"out": rows["temp"].max() + 0 * rows["temp"]}', 30.0),
        ('return rows.select(out=pl.col("wind").sum() / pl.len() + pl.col("temp") * 0)', 10.0),
        ('return {"out": rows["temp"].sort()}', 30.0),
        ('return {"out": rows["temp"].reverse()}', 30.0),
        ('return rows.select(out=pl.col("sky").n_unique() + 0 * pl.col("temp"))', 1.0),
        ('if rows.height < 3:\n    raise ValueError("few")\nreturn {"out": rows["temp"]}', None),
    ],
)
def test_a_function_that_looks_at_other_rows_is_refused_by_one_example(text: str, out: float | None) -> None:
    with pytest.raises(DefinitionError, match=r"looks at other rows|few") as caught:
        Transform(view(text, examples=[ONE | {"out": out}]))
    assert '"derived"' in caught.value.message


def test_a_row_that_fails_alone_looks_at_others() -> None:
    text = 'if rows["temp"].n_unique() == 1 and rows["temp"][0] != 30:\n    raise ValueError("alike")\n' + SUM
    with pytest.raises(DefinitionError, match=r"looks at other rows than its own\. A row fails alone.*alike"):
        Transform(view(text, examples=[ONE]))


def test_examples_that_fail_together_look_at_each_other() -> None:
    text = 'if rows["wind"].n_unique() > 1:\n    raise ValueError("various")\n' + SUM
    with pytest.raises(DefinitionError, match=r"looks at other rows than its own\. They fail together.*various"):
        Transform(view(text, examples=[ONE, {"temp": 1.0, "wind": 1, "out": 2.0}]))


def test_a_function_that_suits_no_made_up_row_is_tried_on_its_examples() -> None:
    text = 'assert set(rows["wind"]) <= {10, 20}\nreturn {"out": rows["temp"] + %s}'
    examples = [ONE, {"temp": 50.0, "wind": 20, "out": 70.0}]
    Transform(view(text % 'rows["wind"]', examples=examples))
    with pytest.raises(DefinitionError, match="looks at other rows"):
        Transform(view(text % '(rows["wind"].max())', examples=examples))


@pytest.mark.parametrize(
    "text",
    [
        'import string as s\ns.calls = getattr(s, "calls", 0) + 1\nreturn {"out": rows["temp"] + s.calls}',
        'import numpy\nreturn {"out": rows["temp"] * getattr(numpy, "random").rand()}',
    ],
)
def test_a_function_that_gives_another_value_each_time_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match='"derived" gives another value each time') as caught:
        Transform(view(text, examples=[ONE]))
    assert "request field" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "dtype", "message", "hint"),
    [
        ("return None", Float64, "gave None, and not a frame", "dict with a Series"),
        ("return rows.lazy()", Float64, "gave a LazyFrame", "dict with a Series"),
        ('return {"aut": rows["temp"]}', Float64, 'gave no "out"', "It gave: aut."),
        ('return {"out": rows["temp"][:1]}', Float64, "gave 1 rows for 2", "one row for each"),
        ('return {"out": 1.0}', Float64, "gave columns that make no frame", "A feature is a Series"),
        (
            'return {"out": rows["temp"]}',
            Array(Date),
            "gave values that are not of the declared types",
            "out (Float64)",
        ),
        ('return {"out": [["a"]] * rows.height}', Int64, "gave values that are not of the declared types", "List"),
        ("import sys\nsys.exit(3)", Float64, r"failed in line 3 of its function \(sys.exit\(3\)\): SystemExit", "null"),
    ],
)
def test_a_result_that_is_no_batch_of_the_schema_is_refused(text: str, dtype: DType, message: str, hint: str) -> None:
    with pytest.raises(DefinitionError, match=f'Example 1: On-demand feature view "derived" {message}') as caught:
        Transform(view(text, dtype, examples=[ONE | {"out": None}]))
    assert hint in caught.value.hint


def test_an_error_at_run_time_names_the_view_the_error_and_the_line_of_the_function() -> None:
    text = 'limit = 100\nif (rows["temp"] > limit).any():\n    raise KeyError("hot")\n' + SUM
    derived = Transform(view(text, examples=[ONE]))
    with pytest.raises(DataError) as caught:
        derived.evaluate(rows(temp=[20.0, 200.0], wind=[1, 1]))
    assert caught.value.message == (
        'On-demand feature view "derived" failed in line 4 of its function (raise KeyError("hot")): KeyError: \'hot\'.'
    )
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_package_that_is_not_installed_is_named_with_the_view() -> None:
    with pytest.raises(DefinitionError, match='"derived" needs the package "no-such-package"') as caught:
        Transform(view(SUM, examples=[ONE], packages=["numpy", "no-such-package"]))
    assert "pip install no-such-package" in caught.value.hint


def test_a_text_that_this_python_cannot_read_is_named_with_the_view() -> None:
    with pytest.raises(DefinitionError, match='"derived": its function cannot be compiled by this Python'):
        Transform(view("return rows +", examples=[ONE]))


# -------------------------------------------------------------------------------------------- what it costs


def test_the_cost_of_a_request_is_measured_in_a_moment() -> None:
    slow = Transform(
        view('import time\ntime.sleep(0.02)\nreturn {"out": rows["temp"]}', examples=[ONE | {"out": 30.0}])
    )
    started = time.perf_counter()
    assert slow.microseconds_per_request() > 20_000
    quick = EXPRESSION.microseconds_per_request()
    assert 0 < quick < 20_000
    assert time.perf_counter() - started < 5, "bounded; how short it is depends on the machine"


@pytest.mark.parametrize("text", ["1.5", "CAST(sky || 'x' AS BIGINT)"], ids=["no input", "refuses the row"])
def test_the_cost_of_an_odd_expression_is_measured_too(text: str) -> None:
    odd = OnDemandFeatureView(
        name="odd", inputs=[WEATHER], schema=[Field(name="out", dtype=Float64)], expressions={"out": text}
    )
    assert Transform(odd).microseconds_per_request() > 0


# ----------------------------------------------------------------------------------------- in another process


@on_demand_feature_view(
    inputs=[WEATHER],
    request=[Field(name="hour", dtype=Int64)],
    schema=[Field(name="felt", dtype=Float64), Field(name="label", dtype=String)],
    packages=["numpy"],
    examples=[{"temp": 30.0, "wind": 10, "sky": "clear", "hour": 12, "felt": 25.5, "label": "clear!"}],
)
def chill(rows: pl.DataFrame) -> dict[str, pl.Series]:
    import numpy as np

    if (rows["hour"] > 23).any():
        raise ValueError("a day has 24 hours")
    felt = rows["temp"].to_numpy() - np.asarray(rows["wind"], dtype=float) / 2 + rows["hour"].to_numpy() / 24
    return {"felt": pl.Series(felt), "label": rows["sky"] + "!"}


ELSEWHERE = """
import json, sys
from datetime import UTC, datetime
from featurestore import FeatureStore
from featurestore.errors import FeatureStoreError
with FeatureStore(sys.argv[1]) as store:
    keys = [{"origin": name, "hour": hour} for name in ("JFK", "EWR") for hour in (1, 12, 23)]
    online = store.get_online_features("cold", keys).to_dict()
    at = datetime(2024, 1, 1, 13, tzinfo=UTC)
    offline = store.get_historical_features([key | {"event_timestamp": at} for key in keys], "cold").to_polars()
    errors = []
    for ask in (
        lambda row: store.get_online_features("cold", [row]),
        lambda row: store.get_historical_features([row | {"event_timestamp": at}], "cold").to_arrow(),
    ):
        try:
            ask({"origin": "JFK", "hour": 24})
        except FeatureStoreError as error:
            errors.append([type(error).__name__, error.message])
    offline = offline.select("felt", "label").to_dict(as_series=False)
    print(json.dumps([online, offline, errors, "test_functions" in " ".join(sys.modules)]))
"""


def test_another_process_computes_it_from_the_registry_alone_offline_and_online(tmp_path: Path) -> None:
    noon = datetime(2024, 1, 1, 12, tzinfo=UTC)
    with FeatureStore.init(tmp_path / "shop") as store:
        store.apply([FeatureService(name="cold", features=[chill])])
        given = {"JFK": (28.1, 7, "clear"), "EWR": (1.7, 3, "grey")}
        store.ingest(
            "weather",
            [
                {"origin": name, "temp": temp, "wind": wind, "sky": sky, "event_timestamp": noon}
                for name, (temp, wind, sky) in given.items()
            ],
        )
        store.materialize("weather")
        with pytest.raises(InvalidRequestError, match="failed in line 5"):
            store.get_online_features("cold", [{"origin": "JFK", "hour": 24}])
    ran = forking.run(
        [sys.executable, "-c", ELSEWHERE, str(tmp_path / "shop")], capture_output=True, text=True, cwd=tmp_path
    )
    assert ran.stderr == ""
    online, offline, errors, here = json.loads(ran.stdout)
    expected = {
        "felt": [temp - wind / 2 + hour / 24 for temp, wind, _ in given.values() for hour in (1, 12, 23)],
        "label": [f"{sky}!" for _, _, sky in given.values() for _ in range(3)],
    }
    assert online == offline == expected
    message = 'On-demand feature view "chill" failed in line 5 of its function (raise ValueError("a day has 24 hours"))'
    assert [kind for kind, _ in errors] == [InvalidRequestError.__name__, DataError.__name__]
    assert all(said == f"{message}: ValueError: a day has 24 hours." for _, said in errors)
    assert not here
