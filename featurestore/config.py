"""The only reader of ``featurestore.toml`` and of the environment.

Every path in the file is relative to the folder that holds it. A value may name an environment variable as
``${NAME}``. A secret is written that way, or as ``file:PATH``; it is read only by the part that uses it, so that
looking around needs no secrets, and is never stored or shown.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Discriminator, Field, SecretStr, Tag, ValidationError

from featurestore.errors import ConfigError, closest
from featurestore.settings.actions import ActionsConfig
from featurestore.settings.alerts import AlertsConfig, Calendars
from featurestore.settings.channels import AnyChannelConfig
from featurestore.settings.dashboard import DashboardConfig
from featurestore.settings.faults import PLAIN_NAME_RULE, first_fault
from featurestore.settings.online import RedisConfig
from featurestore.settings.retention import RetentionConfig
from featurestore.settings.section import Section
from featurestore.settings.sections import (
    AuditConfig,
    Connection,
    ConnectionConfig,
    ErasureConfig,
    IdentityConfig,
    MonitorConfig,
    OfflineConfig,
    PushConfig,
    SourceConfig,
    SparkSettings,
)
from featurestore.settings.serving import ServingConfig
from featurestore.settings.signals import SignalsConfig
from featurestore.settings.streams import StreamConfig, StreamingConfig
from featurestore.settings.template import PLAIN_NAME

FILE_NAME = "featurestore.toml"

_Section = TypeVar("_Section", bound=Section)

#: Where a store keeps the key that it makes to sign heads of the audit log.
OWN_SIGNING_KEY = "data/keys/audit.pem"

#: Where a store keeps the secret that it makes to know erased keys again by.
OWN_ERASURE_KEY = "data/keys/erasure.key"

#: Settings whose values are left as they are written until someone needs the secret.
_SECRETS = re.compile(
    r".*\.secret|audit\.signing_key|identity\.key|offline\.spark\.(?:remote|conf\..+)|connections\..+\.(?:uri|options\..+)"
    r"|online\.(?:password|sentinel_password)"
    r"|channels\..+\.(?:token|webhook_url|routing_key|password|service_url)|streams\..+\.password"
)

#: Settings of channels and streams that name a file.
_PATHS = frozenset({"ca_file", "certificate", "key", "path"})

#: Settings of Spark whose values Spark itself hides.
_SPARK_SECRET = re.compile(r"secret|password|token|access[.]?key", re.IGNORECASE)

#: What watches a live server, and no rehearsal.
_UNWATCHED = {"metrics_port": 0, "access_log": "", "tracing": False}


def _checked_project(name: str) -> str:
    if not PLAIN_NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a project")
    return name


def _kind_of_online(value: object) -> str:
    return "redis" if isinstance(value, (dict, RedisConfig)) else "url"


class Config(Section):
    """``featurestore.toml``, checked; :func:`load` makes it."""

    root: Path
    file: str = FILE_NAME  # in root; set by load, never in the file
    project: Annotated[str, AfterValidator(_checked_project)] = "default"
    definitions: tuple[str, ...] = ("definitions.py",)
    registry: str = "sqlite:///data/registry.db"
    online: Annotated[
        Annotated[str, Tag("url")] | Annotated[RedisConfig, Tag("redis")], Discriminator(_kind_of_online)
    ] = "lmdb://data/online"
    offline: OfflineConfig = OfflineConfig()
    serving: ServingConfig = ServingConfig()
    push: PushConfig = PushConfig()
    streaming: StreamingConfig = StreamingConfig()
    monitor: MonitorConfig = MonitorConfig()
    signals: SignalsConfig = SignalsConfig()
    dashboard: DashboardConfig = DashboardConfig()
    actions: ActionsConfig = ActionsConfig()
    alerts: AlertsConfig = AlertsConfig()
    mute: Calendars = Field(default_factory=dict)
    audit: AuditConfig = AuditConfig()
    identity: IdentityConfig = IdentityConfig()
    erasure: ErasureConfig = ErasureConfig()
    retention: RetentionConfig = RetentionConfig()
    sources: dict[str, SourceConfig] = Field(default_factory=dict)
    connections: dict[str, ConnectionConfig] = Field(default_factory=dict)
    channels: dict[str, AnyChannelConfig] = Field(default_factory=dict)
    streams: dict[str, StreamConfig] = Field(default_factory=dict)
    replay: str = ""  # set by for_replay, never in the file

    def for_replay(self, name: str) -> Config:
        """Return this configuration with a rehearsal's own online store, serving log and monitor database.

        Metrics, access log and traces are of live servers: a rehearsal has none. Nor has it a port for signals or a
        command that trains: nobody is to retrain because of it.

        Args:
            name: the rehearsal; its folder is ``data/replays/NAME``.

        Raises:
            ConfigError: the name cannot be a folder's.
        """
        if not PLAIN_NAME.fullmatch(name):
            raise ConfigError(f"{name!r} cannot name a replay.", hint=PLAIN_NAME_RULE)
        folder = f"data/replays/{name}"
        return self.model_copy(
            update={
                "online": f"lmdb://{folder}/online",
                "serving": self.serving.model_copy(
                    update={"log_path": f"{folder}/log", "feedback_path": f"{folder}/feedback"} | _UNWATCHED
                ),
                "monitor": self.monitor.model_copy(
                    update={"database": f"sqlite:///{folder}/monitor.db", "metrics_port": 0}
                ),
                "signals": self.signals.model_copy(update={"port": 0, "command": ()}),
                "replay": name,
            }
        )

    def channel(self, name: str) -> AnyChannelConfig:
        """Return a channel with its secrets read, and its paths absolute.

        Raises:
            ConfigError: there is no such channel, or a secret's variable or file is missing.
        """
        if name not in self.channels:
            raise ConfigError(f'There is no channel "{name}" in {self.file}.', hint=closest(name, self.channels))
        return self._with_secrets(self.channels[name], f"channels.{name}")

    def stream(self, name: str) -> StreamConfig:
        """Return a stream with its secrets read, and its paths absolute.

        Raises:
            ConfigError: there is no such stream, or a secret's variable or file is missing.
        """
        if name not in self.streams:
            raise ConfigError(
                f'There is no stream "{name}" in {self.file}.',
                hint=closest(name, self.streams) or f"Add [streams.{name}] with a view, servers and a topic.",
            )
        return self._with_secrets(self.streams[name], f"streams.{name}")

    def _with_secrets(self, section: _Section, where: str) -> _Section:
        read: dict[str, SecretStr | str] = {
            key: SecretStr(self._secret(value.get_secret_value(), f"{where}.{key}"))
            for key, value in section
            if isinstance(value, SecretStr)
        }
        paths = {key: str(self.path(value)) for key, value in section if key in _PATHS and value}
        return section.model_copy(update=read | paths)

    def fallback(self, name: str) -> str:
        """Return the channel that stands in for another one; "" where none does.

        Raises:
            ConfigError: there is no such channel, or it is the channel itself.
        """
        fallback, setting = self.channels[name].fallback, f'Setting "channels.{name}.fallback"'
        if fallback and fallback not in self.channels:
            raise ConfigError(
                f'{setting}: there is no channel "{fallback}" in {self.file}.',
                hint=closest(fallback, self.channels) or f"Add [channels.{fallback}], or name another one.",
            )
        if fallback == name:
            raise ConfigError(
                f"{setting}: a channel does not stand in for itself.",
                hint="Name another channel, best of another kind.",
            )
        return fallback

    def online_store(self) -> str | RedisConfig:
        """Return where the online store is: a URL; or the settings of its servers, secrets read and paths absolute.

        Raises:
            ConfigError: a secret's variable or file is missing.
        """
        if isinstance(self.online, str):
            return self.online
        secrets = {
            key: SecretStr(self._secret(value.get_secret_value(), f"online.{key}"))
            for key, value in self.online
            if isinstance(value, SecretStr)
        }
        paths = {key: str(self.path(value)) for key, value in self.online.tls if isinstance(value, str) and value}
        update = {**secrets, "tls": self.online.tls.model_copy(update=paths)}
        if self.online.fallback:
            update["fallback"] = str(self.path(self.online.fallback))
        return self.online.model_copy(update=update)

    def signing_key(self) -> str | None:
        """Return the text of the key that signs the audit log's heads; None if the store has not made its own yet.

        Raises:
            ConfigError: the key's variable or file is missing or cannot be read.
        """
        given = self.audit.signing_key.get_secret_value()
        if not given and not self.path(OWN_SIGNING_KEY).exists():
            return None
        return self._secret(given or f"file:{OWN_SIGNING_KEY}", "audit.signing_key")

    def dashboard_secret(self) -> str:
        """Return the secret that signs the dashboard's sessions; "" if none is set.

        Raises:
            ConfigError: the secret's variable or file is missing or cannot be read.
        """
        given = self.dashboard.secret.get_secret_value()
        return self._secret(given, "dashboard.secret") if given else ""

    def erasure_secret(self) -> str | None:
        """Return the secret by which erased keys are known again; None if the store has not made its own yet.

        Raises:
            ConfigError: the secret's variable or file is missing or cannot be read.
        """
        given = self.erasure.secret.get_secret_value()
        if not given and not self.path(OWN_ERASURE_KEY).exists():
            return None
        return self._secret(given or f"file:{OWN_ERASURE_KEY}", "erasure.secret")

    def identity_key(self) -> str:
        """Return the text of the private key by which :attr:`identity` proves who it is.

        Raises:
            ConfigError: the key's variable or file is missing or cannot be read.
        """
        given, own = self.identity.key.get_secret_value(), identity_file(self.identity.name)
        if not given and not own.exists():
            raise ConfigError(
                f'There is no key of "{self.identity.name}" at {own}.',
                hint=f"Make one with: featurestore identity create {self.identity.name}, "
                "or name its file in FEATURESTORE_IDENTITY_KEY.",
            )
        return self._secret(given or f"file:{own}", "identity.key")

    def connection(self, name: str) -> Connection:
        """Return a database that queries are run in, with its secrets read.

        Raises:
            ConfigError: there is no such connection, or a variable or file that it names is missing.
        """
        if name not in self.connections:
            raise ConfigError(
                f'There is no connection "{name}" in {self.file}.',
                hint=closest(name, self.connections) or f"Add [connections.{name}] with a driver and a uri.",
            )
        section = self.connections[name]
        written = {"uri": section.uri} if section.uri.get_secret_value() else {}
        texts = {key: text.get_secret_value() for key, text in (written | section.options).items()}
        keys = {key: f"connections.{name}.{key if key in written else f'options.{key}'}" for key in texts}
        options = {key: self._secret(text, keys[key]) for key, text in texts.items()}
        hidden = {options[key] for key, text in texts.items() if options[key] != text}
        for text in texts.values():
            hidden.update(os.environ[variable] for variable in _VARIABLE.findall(text))
        return Connection(
            name=name,
            driver=section.driver,
            entrypoint=section.entrypoint,
            options=options,
            secrets=tuple(sorted(filter(None, hidden), key=len, reverse=True)),
        )

    def spark(self) -> SparkSettings:
        """Return the session of Spark that ``[offline.spark]`` describes, with its secrets read.

        Raises:
            ConfigError: a variable or file that it names is missing.
        """
        section, key = self.offline.spark, "offline.spark"
        written = {name: text.get_secret_value() for name, text in section.conf.items()}
        conf = {name: self._secret(text, f"{key}.conf.{name}") for name, text in written.items()}
        remote = section.remote.get_secret_value()
        url = self._secret(remote, f"{key}.remote") if remote else ""
        hidden = {text for name, text in conf.items() if text != written[name] or _SPARK_SECRET.search(name)}
        hidden |= {os.environ[one] for text in (*written.values(), remote) for one in _VARIABLE.findall(text)}
        hidden |= {text for name, _, text in (one.partition("=") for one in url.split(";")) if name == "token"}
        secrets = sorted(filter(None, {*hidden, url}), key=len, reverse=True)
        return SparkSettings(remote=url, master=section.master, conf=conf, secrets=tuple(secrets))

    def _secret(self, text: str, key: str) -> str:
        if text.startswith("file:"):
            file = self.path(text.removeprefix("file:"))
            try:
                return file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ConfigError(f'Setting "{key}": {file} cannot be read: {error}.') from error
        return _resolved(text, self.root / self.file, key)

    def path(self, text: str) -> Path:
        """Return a path of the file, absolute.

        Raises:
            ConfigError: it is a URL, and this has to lie on this machine.
        """
        if "://" in text:
            raise ConfigError(
                f"{text} is not a path of this machine.",
                hint="In object storage may lie what [offline] path names; logs, files and locks are here.",
            )
        return (self.root / text).absolute()

    def database_url(self, url: str) -> str:
        """Return a database URL whose SQLite path, if it has one, is absolute.

        Args:
            url: it; or ``file:PATH`` of the file that holds it, for one with a password.

        Raises:
            ConfigError: the file cannot be read.
        """
        if url.startswith("file:"):
            url = self._secret(url, "registry" if url == self.registry else "monitor.database")
        prefix = "sqlite:///"
        return prefix + str(self.path(url.removeprefix(prefix))) if url.startswith(prefix) else url


def load(folder: str | os.PathLike[str]) -> Config:
    """Read and check ``featurestore.toml`` of a folder.

    Args:
        folder: the folder that holds it; or another TOML file, whose paths are relative to where it lies.

    Raises:
        ConfigError: there is none, it is not TOML, a key is unknown, or a value is of the wrong type; the message
            names the file and the key.
    """
    given = Path(folder).absolute()
    named = given.suffix == ".toml" and not given.is_dir()
    root, file = (given.parent, given) if named else (given, given / FILE_NAME)
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        hint = "" if named else f"Name its folder: --repo FOLDER; or make one with: featurestore init {_shown(folder)}"
        raise ConfigError(f"There is no {file.name} in {root}.", hint=hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} cannot be read: {error}.") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{file} is not valid TOML: {error}.") from error
    values = _with_identity(_with_environment(values, file, ""))
    for key in ("root", "file", "replay"):
        if key in values:
            raise ConfigError(f'{file}: there is no setting "{key}".', hint="Remove it.")
    try:
        return Config(root=root, file=file.name, **values)
    except ValidationError as error:
        message, hint = first_fault(error, Config)
        raise ConfigError(f"{file}: {message}", hint=hint) from None


def _with_identity(values: dict[str, Any]) -> dict[str, Any]:
    """Put the identity of the environment in place of the file's, which the people of a project share."""
    name, key = os.environ.get("FEATURESTORE_IDENTITY", ""), os.environ.get("FEATURESTORE_IDENTITY_KEY", "")
    if key and not name:
        raise ConfigError(
            "FEATURESTORE_IDENTITY_KEY is set, and FEATURESTORE_IDENTITY is not.",
            hint="export FEATURESTORE_IDENTITY=NAME",
        )
    if not name:
        return values
    return {**values, "identity": {"name": name, "key": f"file:{Path(key).absolute()}" if key else ""}}


def identity_file(name: str) -> Path:
    """Return where a person's private key lies unless another place is named: in the user's own settings."""
    home = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(home) / "featurestore" / "identities" / f"{name}.pem"


def _shown(folder: str | os.PathLike[str]) -> str:
    return os.fspath(folder) or "."


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def _with_environment(value: Any, file: Path, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _with_environment(inner, file, f"{key}.{name}".lstrip(".")) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_environment(inner, file, key) for inner in value]
    # Secrets are read by those who use them: see Config.channel.
    return _resolved(value, file, key) if isinstance(value, str) and not _SECRETS.fullmatch(key) else value


def _resolved(text: str, file: Path, key: str) -> str:
    def resolve(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            raise ConfigError(
                f'{file}: setting "{key}" needs the environment variable {name}, which is not set.',
                hint=f"export {name}=...",
            )
        return os.environ[name]

    return _VARIABLE.sub(resolve, text)
