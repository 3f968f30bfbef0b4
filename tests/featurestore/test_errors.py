"""The tree of errors is the one drawn, and each says what to do."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from featurestore import errors
from featurestore.errors import FeatureStoreError, SchemaError, closest


def test_the_tree_is_as_drawn() -> None:
    drawn: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^    ([│ ]*)(?:├── |└── )?([A-Z]\w+Error)\b", line)
        if found:
            depth = (found.start(2) - 4) // 4
            path[depth:] = [found.group(2)]
            drawn[found.group(2)] = path[depth - 1] if depth else "Exception"
    classes = {name: one for name, one in vars(errors).items() if inspect.isclass(one) and issubclass(one, Exception)}
    assert drawn == {name: one.__bases__[0].__name__ for name, one in classes.items()}
    assert set(classes) | {"about", "closest"} == set(errors.__all__)


def test_the_hint_is_shown_under_the_message() -> None:
    error = SchemaError('There is no column "tmp".', hint='Did you mean "temp"?')
    assert str(error) == 'There is no column "tmp".\nHint: Did you mean "temp"?'
    assert str(SchemaError("No.")) == "No."
    assert (error.message, error.hint) == ('There is no column "tmp".', 'Did you mean "temp"?')


def test_an_error_can_pass_between_processes() -> None:
    error = pickle.loads(pickle.dumps(SchemaError("No.", hint="Yes.")))
    assert isinstance(error, SchemaError)
    assert isinstance(error, FeatureStoreError)
    assert str(error) == "No.\nHint: Yes."


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("wether", ["weather", "planes"], 'Did you mean "weather"?'),
        ("x", ["b", "a", "b"], "There is: a, b."),
        ("x", [], ""),
        (
            "x",
            [f"view{n:02}" for n in range(9)],
            "There is: " + ", ".join(f"view{n:02}" for n in range(8)) + " and 1 more.",
        ),
    ],
)
def test_a_hint_names_the_nearest_or_what_there_is(name: str, known: list[str], hint: str) -> None:
    assert closest(name, known) == hint
