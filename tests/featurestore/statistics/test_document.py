"""What docs/statistics.md says is so."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import featurestore.statistics
from featurestore.statistics.chi_square import Homogeneity
from featurestore.statistics.estimate import Estimate

DOCUMENT = (Path(__file__).parents[3] / "docs" / "statistics.md").read_text(encoding="utf-8")


def test_its_example_runs() -> None:
    for example in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL):
        exec(example, {})


def test_each_statistic_is_in_a_table() -> None:
    for module in pkgutil.iter_modules(featurestore.statistics.__path__):
        home = importlib.import_module(f"featurestore.statistics.{module.name}")
        for name, of in inspect.getmembers(home, inspect.isfunction):
            if of.__module__ == home.__name__ and of.__annotations__["return"] in (
                Estimate.__name__,
                Homogeneity.__name__,
            ):
                assert re.search(rf"^\|[^|]*`{name}`", DOCUMENT, re.MULTILINE), name
