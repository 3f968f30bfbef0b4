"""The files of cases that lie beside the definitions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from featurestore.config import Config
from featurestore.definition_files import run_file
from featurestore.errors import ConfigError
from featurestore.testing.cases import FeatureCase

#: Which files beside featurestore.toml hold cases.
PATTERNS = ("cases.py", "*_cases.py", "cases/*.py")


def case_files(config: Config) -> list[Path]:
    """Return the files of cases of a feature store's folder, in the order of their names."""
    return sorted({file for pattern in PATTERNS for file in config.root.glob(pattern)})


def load_cases(files: Sequence[Path]) -> list[FeatureCase]:
    """Return every case that the files assign to a name, alone or in a list, in order; each has a name afterwards.

    Raises:
        ConfigError: there is no such file.
        DefinitionError: a file fails when it is run; the message names the file and the line.
    """
    found: dict[int, FeatureCase] = {}
    for file in files:
        if not file.is_file():
            raise ConfigError(
                f"There is no file {file}.", hint="When none is named, those beside the settings are run."
            )
        for name, value in vars(run_file(file)).items():
            for number, case in enumerate(value if isinstance(value, (list, tuple)) else [value], 1):
                if isinstance(case, FeatureCase) and id(case) not in found:
                    found[id(case)] = case
                    if not case.name:
                        named = name if case is value else f"{name}[{number}]"
                        object.__setattr__(case, "name", named)  # as a class gets its name from the statement
    return list(found.values())
