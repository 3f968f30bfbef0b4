"""Commands on views of other projects: what they print, and what they refuse in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from featurestore.cli.app import run

SETTINGS = 'project = "{project}"\nregistry = "sqlite:///{root}/registry.db"\n\n[offline]\npath = "{root}/offline"\n'

OWNED = """\
from featurestore import Entity, FeatureView, Field
from featurestore.types import Float64

shop = Entity(name="shop")
weather = FeatureView(name="weather", entities=[shop], schema=[Field(name="temp", dtype=Float64)])
"""

USED = """\
from featurestore import FeatureService, SharedView

weather = SharedView("sales/weather")
campaign = FeatureService(name="campaign", features=[weather[["temp"]]])
"""

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Return a function that runs a command in the folder of a project."""
    for project, definitions in (("sales", OWNED), ("ads", USED)):
        folder = tmp_path / project
        folder.mkdir()
        (folder / "featurestore.toml").write_text(SETTINGS.format(project=project, root=tmp_path))
        (folder / "definitions.py").write_text(definitions)

    def run_in(project: str, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.chdir(tmp_path / project)
        capsys.readouterr()
        code = run(list(arguments), debug=False)
        said = capsys.readouterr()
        return code, said.out, said.err

    run_in("sales", "apply")
    return run_in


def test_a_view_is_shared_used_and_withdrawn_when_nothing_uses_it_any_more(call: Call) -> None:
    code, _, err = call("ads", "plan")
    assert code == 1
    assert 'definitions.py:4: Project "sales" does not share view "weather" with project "ads".' in err
    assert 'in the folder of "sales": featurestore share weather --with ads' in err
    code, out, _ = call("sales", "share", "weather", "--with", "ads")
    assert code == 0
    assert 'Project "ads" may use weather: SharedView("sales/weather") in its definitions.' in out
    assert "has applied anything to this registry yet" in out
    code, out, _ = call("ads", "apply")
    assert (code, "sales/weather@1[temp]" in out) == (0, True)
    code, _, err = call("sales", "unshare", "weather", "--with", "ads")
    assert (code, 'used in project "ads", by feature_service campaign@1' in err) == (1, True)
    assert call("ads", "delete", "campaign", "--yes")[0] == 0
    code, out, _ = call("sales", "unshare", "weather", "--with", "ads")
    assert (code, out) == (0, 'Project "ads" may not use weather any more.\n')
    assert call("sales", "shares")[1] == "No view is shared. Next: featurestore share VIEW --with PROJECT\n"
    assert [one["action"] for one in json.loads(call("sales", "audit", "--format", "json")[1])][-2:] == [
        "share",
        "unshare",
    ]


def test_a_known_project_is_not_said_to_be_unknown(call: Call) -> None:
    call("sales", "share", "weather", "--with", "ads")
    call("ads", "apply")
    assert len(call("sales", "share", "weather", "--with", "ads")[1].splitlines()) == 1


def test_both_sides_list_what_is_shared(call: Call) -> None:
    call("sales", "share", "weather", "--with", "ads")
    call("sales", "share", "weather", "--with", "others")
    call("ads", "apply")
    ours = call("sales", "shares")[1].splitlines()
    assert ["ours, with ads" in ours[0], "used by feature_service campaign@1" in ours[0]] == [True, True]
    assert ["ours, with others" in ours[1], ours[1].endswith("not used")] == [True, True]
    (theirs,) = call("ads", "shares")[1].splitlines()
    assert theirs.startswith("sales/weather ")
    assert "of sales, with us" in theirs
    (one,) = json.loads(call("ads", "shares", "--format", "json")[1])
    assert {key: one[key] for key in ("owner", "view", "consumer", "reference", "users")} == {
        "owner": "sales",
        "view": "weather",
        "consumer": "ads",
        "reference": "sales/weather",
        "users": ["feature_service campaign@1"],
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("share", "wether", "--with", "ads"), 'There is no feature view "wether"'),
        (("share", "weather", "--with", "sales"), '"sales" is this project.'),
        (("unshare", "weather", "--with", "ads"), 'View "weather" is not shared with project "ads".'),
        (("share", "weather"), "--with"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(call: Call, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = call("sales", *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert "Traceback" not in err


def test_a_view_of_another_project_is_not_loaded_here(call: Call) -> None:
    call("sales", "share", "weather", "--with", "ads")
    call("ads", "apply")
    for command in (("ingest", "weather"), ("materialize", "sales/weather")):
        code, _, err = call("ads", *command)
        assert code == 1
        assert 'Error: View "sales/weather" belongs to project "sales", which loads and materializes it.' in err
