"""Definitions from the user's Python files."""

from __future__ import annotations

import gc
import importlib.util
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from featurestore.config import Config
from featurestore.definitions import Definition
from featurestore.definitions.canonical import KINDS
from featurestore.errors import ConfigError, DefinitionError, FeatureStoreError
from featurestore.places import shown


class _AsItStands(SourceFileLoader):
    """Reads the file itself: Python takes bytecode for its own by the second and the size, which an edit may keep."""

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the signature is the loader's
        return self.source_to_code(self.get_data(self.path), self.path)


def load_definitions(config: Config) -> list[Definition]:
    """Return every definition that the files named in ``featurestore.toml`` assign to a name, in order.

    Raises:
        ConfigError: a file does not exist.
        DefinitionError: a file fails when it is run; the message names the file and the line.
    """
    found: dict[int, Definition] = {}  # by identity: two equal objects may be meant as two, and are then refused
    for text in config.definitions:
        module = run_file(config.path(text))
        for value in vars(module).values():
            if type(value) in KINDS:
                found.setdefault(id(value), value)
    if not found:
        raise DefinitionError(
            f"No definition is in {', '.join(config.definitions)}.",
            hint="Assign entities, views and services to names at the top level of these files.",
        )
    return list(found.values())


def run_file(path: Path) -> ModuleType:
    """Run one of the user's Python files and return what it defines.

    Raises:
        ConfigError: there is no such file.
        DefinitionError: it fails; the message names the file and the line.
    """
    if not path.is_file():
        raise ConfigError(
            f"There is no definitions file {path}.",
            hint="Write it, or name another in featurestore.toml: definitions = [...].",
        )
    name = f"featurestore_definitions_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or not isinstance(spec.loader, SourceFileLoader):
        raise ConfigError(f"{path} is not a Python file.")
    spec.loader = _AsItStands(name, str(path))
    module = importlib.util.module_from_spec(spec)
    # Files may import modules that lie beside them.
    sys.path.insert(0, str(path.parent))
    # All that a large project's files make stays; looking for garbage among it takes as long as making it.
    collecting = gc.isenabled()
    gc.disable()
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise DefinitionError(f"{error.msg}.", where=shown(str(error.filename), error.lineno or 1)) from error
    except FeatureStoreError as error:
        error.where = error.where or _place(error, path)
        raise
    except SystemExit as error:
        raise DefinitionError(
            f"the file ends the program ({error!r}).",
            hint="A definitions file only assigns definitions to names.",
            where=_place(error, path),
        ) from error
    except Exception as error:  # the user's code may raise anything; it is their file that is wrong
        raise DefinitionError(f"{type(error).__name__}: {error}.", where=_place(error, path)) from error
    finally:
        if collecting:
            gc.enable()
        sys.path.remove(str(path.parent))
    return module


def _place(error: BaseException, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return shown(str(path), (lines[-1] if lines else None) or 1)
