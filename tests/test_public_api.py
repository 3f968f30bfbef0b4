"""What users import, and what importing it brings along."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import featurestore
from featurestore import errors

ROOT = Path(__file__).parent.parent

NAMES = {
    "BaselineSource",
    "Entity",
    "Evaluation",
    "FeatureClient",
    "FeatureService",
    "FeatureStore",
    "FeatureStoreError",
    "FeatureView",
    "Field",
    "FileSource",
    "GroupSplit",
    "KeySplit",
    "LoadGate",
    "Model",
    "MonitorPolicy",
    "OnDemandFeatureView",
    "PromotionPolicy",
    "PushSource",
    "QuerySource",
    "RandomSplit",
    "RetrainingPolicy",
    "SharedView",
    "SqlSource",
    "TimeSplit",
    "on_demand_feature_view",
}

HEAVY = {"alembic", "deltalake", "duckdb", "lmdb", "pandas", "polars", "pyarrow", "pydantic", "scipy", "sqlalchemy"}


def test_the_package_offers_just_these_names() -> None:
    assert set(featurestore.__all__) == NAMES
    assert all(getattr(featurestore, name).__name__ == name for name in NAMES)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'FeatureStorr'"):
        _ = featurestore.FeatureStorr


def test_the_error_tree_is_the_one_that_its_docstring_draws() -> None:
    drawn = [line.split("──")[-1].split()[0] for line in (errors.__doc__ or "").splitlines() if "──" in line]
    defined = [
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.FeatureStoreError) and name != "FeatureStoreError"
    ]
    assert sorted(drawn) == sorted(defined)


def _modules_after(code: str) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"],
        check=True,
        capture_output=True,
        text=True,
    )
    return {name.split(".")[0] for name in json.loads(ran.stdout)}


def test_neither_the_package_nor_what_pytest_loads_of_it_imports_a_library() -> None:
    code = "import featurestore, featurestore.testing.pytest_plugin"
    assert not _modules_after(code) & (HEAVY | {"grpc", "google", "numpy"})


def test_definitions_need_no_library() -> None:
    assert not _modules_after("from featurestore import FeatureService, SqlSource, MonitorPolicy") & (
        HEAVY | {"grpc", "google", "numpy"}
    )


def test_opening_a_store_waits_for_no_statistics() -> None:
    assert "scipy" not in _modules_after("import featurestore.store")


def test_importing_the_client_imports_only_grpc_protobuf_and_numpy() -> None:
    assert not _modules_after("from featurestore.client import FeatureClient") & HEAVY


def test_the_client_works_where_only_grpc_protobuf_and_numpy_are_installed(tmp_path: Path) -> None:
    """An environment as `pip install --no-deps featurestore` makes it beside those three."""
    for name in ("grpc", "numpy", "typing_extensions"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        source = Path(spec.origin)
        source = source.parent if source.name == "__init__.py" else source
        (tmp_path / source.name).symlink_to(source)
        libraries = source.parent / f"{name}.libs"
        if libraries.exists():
            (tmp_path / libraries.name).symlink_to(libraries)
    protobuf = importlib.util.find_spec("google.protobuf")
    assert protobuf is not None
    assert protobuf.origin is not None
    (tmp_path / "google").mkdir()
    for inside in ("protobuf", "_upb"):
        (tmp_path / "google" / inside).symlink_to(Path(protobuf.origin).parent.parent / inside)
    (tmp_path / "featurestore").symlink_to(ROOT / "featurestore")
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}]\n"
        "from featurestore.client import FeatureClient\n"
        "from featurestore.errors import ServerUnavailableError\n"
        "client = FeatureClient('127.0.0.1:1', timeout=2)\n"
        "try:\n"
        "    client.get_online_features(features='any', entity_rows=[{}])\n"
        "except ServerUnavailableError as error:\n"
        "    print(error.message)\n"
    )
    # -S: no site-packages; -E: no PYTHONPATH.
    ran = subprocess.run([sys.executable, "-S", "-E", "-c", code], capture_output=True, text=True, check=False)
    assert ran.stderr == ""
    assert ran.stdout == "No feature server answers at 127.0.0.1:1.\n"
