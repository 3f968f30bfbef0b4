"""Cases as pytest's tests, and a throw-away store as a fixture.

pytest finds this by its entry point. It does nothing until a folder is named: ``--featurestore-repo DIR``, or
``featurestore_repo = DIR`` in pytest's settings. What does the work is imported only then.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from featurestore.definitions import Definition
    from featurestore.store import FeatureStore
    from featurestore.testing.cases import FeatureCase

_OPTION = "featurestore_repo"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option and the setting."""
    what = "the folder with featurestore.toml whose cases are run, and whose definitions `feature_store` has"
    parser.getgroup("featurestore").addoption("--featurestore-repo", default="", help=what)
    parser.addini(_OPTION, what, default="")


def _repo(config: pytest.Config) -> Path | None:
    given = config.getoption(_OPTION)
    if given:
        return Path(given).absolute()
    written = config.getini(_OPTION)
    return config.rootpath / written if written else None


def _definitions(repo: Path) -> list[Definition]:
    from featurestore import config as configuration
    from featurestore.definition_files import load_definitions

    return load_definitions(configuration.load(repo))


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the files of cases of the folder that was named."""
    repo = _repo(parent.config)
    if repo is None or file_path.suffix != ".py":
        return None
    from featurestore import config as configuration
    from featurestore.testing.files import case_files

    if file_path not in case_files(configuration.load(repo)):
        return None
    return CaseFile.from_parent(parent, path=file_path)


class CaseFile(pytest.File):
    """A file of cases."""

    def collect(self) -> Iterator[pytest.Item]:
        """Yield each case of the file."""
        from featurestore.errors import FeatureStoreError
        from featurestore.testing.files import load_cases

        repo = _repo(self.config)
        assert repo is not None  # noqa: S101 - else the file were not collected
        try:
            definitions, cases = _definitions(repo), load_cases([self.path])
        except FeatureStoreError as error:
            raise self.CollectError(f"{error.sentence} {error.hint}") from error
        for case in cases:
            yield CaseItem.from_parent(self, name=case.name, case=case, definitions=definitions)


class CaseFailedError(Exception):
    """What came was not what the case expects; the text says where."""


class CaseItem(pytest.Item):
    """One case."""

    def __init__(self, *, case: FeatureCase, definitions: list[Definition], **rest: Any) -> None:
        super().__init__(**rest)
        self._case = case
        self._definitions = definitions

    def runtest(self) -> None:
        """Run the case."""
        from featurestore.testing.reporting import report
        from featurestore.testing.running import run_case

        result = run_case(self._case, self._definitions)
        if not result.passed:
            raise CaseFailedError("\n".join(report(result)))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the report of a case, and not how it came about."""
        if isinstance(excinfo.value, CaseFailedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where the case is."""
        from featurestore.places import place_of

        line = place_of(self._case).rpartition(":")[2]
        return self.path, int(line) - 1 if line.isdecimal() else None, self.name


@pytest.fixture
def feature_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FeatureStore]:
    """A new feature store in a temporary folder, with the definitions of the named folder applied and no rows."""
    from featurestore.store import FeatureStore

    repo = _repo(request.config)
    if repo is None:
        raise pytest.UsageError("feature_store needs the folder with featurestore.toml: --featurestore-repo DIR")
    store = FeatureStore.init(tmp_path / "featurestore", project="tests")
    with store:
        store.apply([one for one in _definitions(repo) if not getattr(one, "shared", ())])
        yield store
