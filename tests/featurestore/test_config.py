"""One reader of featurestore.toml: a wrong setting is named, a secret is never shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from featurestore import config
from featurestore.errors import ConfigError
from featurestore.settings.template import new_settings, project_name


def load(folder: Path, text: str) -> config.Config:
    (folder / config.FILE_NAME).write_text(text, encoding="utf-8")
    return config.load(folder)


def test_an_empty_file_is_a_working_configuration(tmp_path: Path) -> None:
    loaded = load(tmp_path, "")
    assert loaded.project == "default"
    assert loaded.path(loaded.offline.path) == tmp_path / "data" / "offline"
    with pytest.raises(ConfigError, match="not a path of this machine"):
        loaded.path("s3://bucket/log")
    assert loaded.database_url(loaded.registry) == f"sqlite:///{tmp_path}/data/registry.db"
    assert loaded.database_url("postgresql+psycopg://host/db") == "postgresql+psycopg://host/db"
    assert loaded.replay == ""


def test_the_template_is_a_working_configuration_and_its_comments_are_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPS_WEBHOOK_SECRET", "whsec_x")
    monkeypatch.setenv("WAREHOUSE_URL", "postgresql://db/shop")
    text = new_settings("shop")
    assert load(tmp_path, text).project == "shop"
    head, _, tail = text.partition("# [sources.flights]")
    uncommented = "\n".join(line.removeprefix("# ") for line in ("# [sources.flights]" + tail).splitlines())
    loaded = load(tmp_path, head + uncommented)
    assert loaded.sources["flights"].path == "/mnt/flights/*.parquet"
    assert loaded.connection("warehouse").options == {"uri": "postgresql://db/shop"}
    assert loaded.channel("ops").secret.get_secret_value() == "whsec_x"


def test_paths_are_relative_to_the_file_unless_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    loaded = load(tmp_path, "")
    assert loaded.path("a/b") == tmp_path / "a" / "b"
    assert loaded.path("/a/b") == Path("/a/b")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("project = ", "is not valid TOML"),
        ("[offline]\npth = 'x'", 'there is no setting "offline.pth"'),
        ("colour = 'red'", 'there is no setting "colour"'),
        ("replay = 'x'", 'there is no setting "replay"'),
        ("root = '/'", 'there is no setting "root"'),
        ("[serving]\nport = 'http'", 'setting "serving.port"'),
        ("[serving]\nport = 70000", 'setting "serving.port"'),
        ("[serving]\nlog_sample = 1.5", 'setting "serving.log_sample"'),
        ("[channels.ops]\nkind = 'fax'", 'setting "channels.ops.kind"'),
        ("[connections.x]\nuri = 'x://y'", 'setting "connections.x.driver"'),
        ("[connections.x]\ndriver = 'd'\nurl = 'x://y'", 'no setting "connections.x.url"'),
        ("[offline]\nengine = 'abacus'", 'setting "offline.engine"'),
        ("[sources.x]\npath = '${NO_SUCH}/x.csv'", '"sources.x.path" needs .* NO_SUCH'),
    ],
)
def test_a_wrong_setting_is_named_with_its_file(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as raised:
        load(tmp_path, text)
    assert str(tmp_path / config.FILE_NAME) in raised.value.message


def test_a_folder_without_the_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no featurestore\.toml") as raised:
        config.load(tmp_path)
    assert raised.value.hint == f"Name its folder: --repo FOLDER; or make one with: featurestore init {tmp_path}"


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / config.FILE_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(tmp_path)


def test_variables_are_resolved_wherever_texts_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAGE", "blue")
    loaded = load(
        tmp_path, 'project = "shop_${STAGE}"\ndefinitions = ["${STAGE}.py"]\n[sources.x]\npath = "a/${STAGE}.csv"'
    )
    assert (loaded.project, loaded.definitions) == ("shop_blue", ("blue.py",))
    assert loaded.sources["x"].path == "a/blue.csv"


def test_a_secret_is_read_only_when_its_channel_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(tmp_path, "[channels.ops]\nkind = 'webhook'\nsecret = '${OPS_SECRET}'")
    with pytest.raises(ConfigError, match=r'"channels\.ops\.secret" needs .* OPS_SECRET'):
        loaded.channel("ops")
    monkeypatch.setenv("OPS_SECRET", "hush")
    assert loaded.channel("ops").secret.get_secret_value() == "hush"
    with pytest.raises(ConfigError, match='no channel "opps"') as raised:
        loaded.channel("opps")
    assert raised.value.hint == 'Did you mean "ops"?'


def test_what_is_missing_is_said_of_the_file_that_was_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_PASSWORD", raising=False)
    file = tmp_path / "other.toml"
    file.write_text('[online]\ntype = "redis"\npassword = "${REDIS_PASSWORD}"\n')
    loaded = config.load(file)
    for one in (loaded, loaded.for_replay("x").model_copy(update={"online": loaded.online})):
        with pytest.raises(ConfigError) as raised:
            one.online_store()
        assert raised.value.message.startswith(f'{file}: setting "online.password" needs')
    with pytest.raises(ConfigError, match=r'no channel "ops" in other\.toml'):
        loaded.channel("ops")
    file.write_text('file = "x"')
    with pytest.raises(ConfigError, match='there is no setting "file"'):
        config.load(file)


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    loaded = load(tmp_path, "[channels.ops]\nkind = 'webhook'\nsecret = 'file:secret.txt'")
    with pytest.raises(ConfigError, match=r"secret\.txt cannot be read"):
        loaded.channel("ops")
    (tmp_path / "secret.txt").write_text("hush\n")
    assert loaded.channel("ops").secret.get_secret_value() == "hush"


def test_the_url_of_a_database_may_stand_in_a_file(tmp_path: Path) -> None:
    loaded = load(tmp_path, 'registry = "file:url"\n[monitor]\ndatabase = "file:monitor-url"')
    with pytest.raises(ConfigError, match=r'"registry": .*url cannot be read'):
        loaded.database_url(loaded.registry)
    with pytest.raises(ConfigError, match=r'"monitor\.database": .*monitor-url cannot be read'):
        loaded.database_url(loaded.monitor.database)
    # What looks like a variable is part of the password.
    (tmp_path / "url").write_text("postgresql+psycopg://ada:a${b}c@db/shop\n")
    assert loaded.database_url(loaded.registry) == "postgresql+psycopg://ada:a${b}c@db/shop"
    (tmp_path / "monitor-url").write_text("sqlite:///monitor.db")
    assert loaded.database_url(loaded.monitor.database) == f"sqlite:///{tmp_path}/monitor.db"


WAREHOUSE = """
[connections.warehouse]
driver = "postgresql"
uri = "postgresql://ada:${PASSWORD}@db/shop"
options = {"adbc.some.token" = "file:token.txt", "adbc.some.size" = "5"}
"""


def test_a_connections_secrets_are_read_only_when_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(tmp_path, WAREHOUSE)
    with pytest.raises(ConfigError, match=r'"connections\.warehouse\.uri" needs .* PASSWORD'):
        loaded.connection("warehouse")
    monkeypatch.setenv("PASSWORD", "hush")
    with pytest.raises(ConfigError, match=r'"connections\.warehouse\.options\.adbc\.some\.token": .*token\.txt'):
        loaded.connection("warehouse")
    (tmp_path / "token.txt").write_text("quiet\n")
    connection = loaded.connection("warehouse")
    assert connection.options == {
        "uri": "postgresql://ada:hush@db/shop",
        "adbc.some.token": "quiet",
        "adbc.some.size": "5",
    }
    assert {"hush", "quiet"} <= set(connection.secrets)
    assert "5" not in connection.secrets
    for shown in (repr(connection), repr(loaded), loaded.model_dump_json()):
        assert "hush" not in shown
        assert "quiet" not in shown


def test_a_connection_that_is_not_there_is_named_with_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='no connection "warehose"') as raised:
        load(tmp_path, WAREHOUSE).connection("warehose")
    assert raised.value.hint == 'Did you mean "warehouse"?'


SPARK = """
[offline.spark]
remote = "sc://spark:15002/;token=${SPARK_TOKEN}"
[offline.spark.conf]
"spark.executor.memory" = "2g"
"spark.authenticate.secret" = "spoken"
"spark.some.jar" = "${JAR}.jar"
"""


def test_what_is_secret_in_a_session_of_spark_is_known_and_the_rest_may_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARK_TOKEN", "hush")
    monkeypatch.setenv("JAR", "quiet")
    settings = load(tmp_path, SPARK).spark()
    assert (settings.remote, settings.conf["spark.some.jar"]) == ("sc://spark:15002/;token=hush", "quiet.jar")
    assert {"hush", "spoken", "quiet"} <= set(settings.secrets)
    assert "2g" not in settings.secrets
    assert not {"hush", "spoken", "quiet"} & set(repr(settings).replace("'", " ").split())


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    loaded = load(tmp_path, "[channels.ops]\nkind = 'webhook'\nsecret = 'hush'")
    assert "hush" not in repr(loaded)
    assert "hush" not in loaded.model_dump_json()


def test_a_replay_has_its_own_rooms_and_shares_the_rest(tmp_path: Path) -> None:
    live = load(tmp_path, "")
    replay = live.for_replay("launch-1")
    assert replay.replay == "launch-1"
    moved = {replay.online, replay.serving.log_path, replay.monitor.database}
    assert all("data/replays/launch-1/" in place for place in moved)
    assert (replay.registry, replay.offline, replay.root) == (live.registry, live.offline, live.root)
    assert live.replay == ""


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "-x", "x" * 65])
def test_a_replay_cannot_leave_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a replay"):
        load(tmp_path, "").for_replay(name)


@pytest.mark.parametrize("name", ["a'b\"c\n", "a b", "-x", "", "x" * 65, "ü"])
def test_a_project_has_a_name_that_toml_and_folders_can_carry(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a project") as raised:
        new_settings(name)
    assert "Use letters" in raised.value.hint
    with pytest.raises(ConfigError, match=r'setting "project": .* cannot name a project') as raised:
        load(tmp_path, f"project = {json.dumps(name)}")
    assert "Use letters" in raised.value.hint


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("shop", "shop"),
        ("my shop", "my-shop"),
        (".hidden", "hidden"),
        ("a'b\"c\n", "a-b-c"),
        ("ü", "default"),
        ("x" * 99, "x" * 64),
    ],
)
def test_a_projects_default_name_is_its_folders_as_far_as_that_may_be(tmp_path: Path, folder: str, name: str) -> None:
    assert project_name(tmp_path / folder) == name
    assert load(tmp_path, new_settings(name)).project == name


def test_the_identity_of_the_environment_goes_before_that_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bob.pem").write_text("bob's key")
    (tmp_path / "ada.pem").write_text("ada's key")
    text = '[identity]\nname = "bob"\nkey = "file:bob.pem"'
    assert load(tmp_path, text).identity_key() == "bob's key"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FEATURESTORE_IDENTITY", "ada")
    monkeypatch.setenv("FEATURESTORE_IDENTITY_KEY", "ada.pem")
    loaded = load(tmp_path, text)
    assert (loaded.identity.name, loaded.identity_key()) == ("ada", "ada's key")
    monkeypatch.delenv("FEATURESTORE_IDENTITY")
    with pytest.raises(ConfigError, match="FEATURESTORE_IDENTITY is not") as raised:
        load(tmp_path, text)
    assert raised.value.hint == "export FEATURESTORE_IDENTITY=NAME"


def test_the_keys_of_the_audit_and_of_an_identity_are_read_only_when_they_are_needed(tmp_path: Path) -> None:
    loaded = load(tmp_path, '[audit]\nsigning_key = "${NO_SUCH}"\n[identity]\nname = "ada"\nkey = "file:none"')
    with pytest.raises(ConfigError, match=r'"audit\.signing_key" needs the environment variable NO_SUCH'):
        loaded.signing_key()
    with pytest.raises(ConfigError, match=r'"identity\.key": .*none cannot be read'):
        loaded.identity_key()
    assert load(tmp_path, "").signing_key() is None
