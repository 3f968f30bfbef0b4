"""A query that the user's own database runs, through an ADBC driver, as a stream of rows."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from featurestore.config import Config
from featurestore.definitions import FeatureView, QuerySource
from featurestore.errors import ConfigError, DataError, SchemaError, TimestampError, closest
from featurestore.offline.load_ids import QUERY
from featurestore.offline.sources.database_types import plain_schema, plainly
from featurestore.offline.sources.pieces import Piece
from featurestore.settings.sections import Connection

if TYPE_CHECKING:
    from adbc_driver_manager import dbapi

#: Drivers whose database takes double quotes for a text.
_BACKTICKS = ("bigquery", "mysql", "databricks")

#: An address that can be shown but for its user, password and parameters. Any other one may be anything: a sign in a
#: password that had to be escaped is read, by the driver too, as the end of the password.
_ADDRESS = re.compile(
    r"(?:[A-Za-z][\w+.-]*://)?(?:[^:/?#@\s]*(?::(?P<password>[^/?#@\s]*))?@)?"
    r"(?P<place>[\w.,\[\]-]*(?::\d+)?(?:/[\w.-]+)*/?)(?P<parameters>\?[^@#\s]*)?"
)
_STATUS = re.compile(r"^[A-Z_]+: |\[[\w -]+\] ")
_DATABASE_SAYS = re.compile(r"(?:ERROR|FATAL):\s+(.+)")


def place_of(name: str, config: Config, db_schema: str) -> str:
    """Return where a connection leads, for the audit: its name, host, database and schema, and no secret.

    Raises:
        ConfigError: there is no such connection, or its secret is missing.
    """
    uri = config.connection(name).options.get("uri", "")
    address = _ADDRESS.fullmatch(uri)
    at = f" at {address['place']}" if address and address["place"] else ""
    return f"connection {name}{at}" + (f", schema {db_schema}" if db_schema else "")


class QueryPiece(Piece):
    """The rows of a QuerySource that one load reads.

    Args:
        source: the definition.
        view: whose source it is.
        config: the store's settings.
        connection: the section of ``featurestore.toml``, which may be another than the definition's.
        db_schema: where names without a schema are looked up; empty for the database's own choice.
        since: the watermark of the load before; None reads everything.
        notes: what the user should know.
    """

    def __init__(
        self,
        source: QuerySource,
        view: FeatureView,
        config: Config,
        *,
        connection: str,
        db_schema: str,
        since: Mapping[str, Any] | None,
        notes: tuple[str, ...] = (),
    ) -> None:
        name = f'query "{source.name}"' if source.name else "query"
        super().__init__(
            name=f'{name} of connection "{connection}"',
            load_id=f"{QUERY}{uuid.uuid4()}",  # each run is a load: what a database holds has no name
            location=place_of(connection, config, db_schema),
            notes=notes,
        )
        self._source = source
        self._declared = view.keys | {one.name: one.dtype for one in view.schema}
        self._wanted = {*self._declared, view.timestamp_field, view.created_timestamp_column}
        self._connection = config.connection(connection)
        self._db_schema = db_schema
        self._since = since
        self._newest: Any = None  # an instant, a date or an integer, as the column is

    @contextmanager
    def read(self, config: Config, what: str) -> Iterator[pa.RecordBatchReader]:
        """Run the query and yield its rows as they come.

        Raises:
            ConfigError: the driver is not installed.
            DataError: the database cannot be reached or refuses the query; the message has its own first line.
        """
        said = f"{what}: the {self.name}"
        # A clock that is a little ahead is no reason to doubt a row; a value beyond would hide all rows to come.
        latest = datetime.now(UTC) + timedelta(seconds=config.offline.max_future_seconds)
        with closing(_connect(self._connection, config, self._db_schema, said)) as database:
            cursor = database.cursor()
            try:
                rows = self._execute(cursor, said)
                self._check_incremental(rows.schema, said)
                # The column to go by is asked for by us: it is no surplus unless the view takes it too.
                by = self._source.incremental_by
                taken = [at for at, name in enumerate(rows.schema.names) if name != by or name in self._wanted]
                schema = plain_schema(pa.schema([rows.schema.field(at) for at in taken]), self._declared, said)

                def batches() -> Iterator[pa.RecordBatch]:
                    try:
                        for batch in rows:
                            self._watch(batch, latest)
                            yield plainly(batch.select(taken), schema, said)
                    except (_driver_error(), pa.ArrowException, OSError) as error:
                        self._refuse(error, f"{said} cannot be read to its end")

                yield pa.RecordBatchReader.from_batches(schema, batches())
                rows.close()
            finally:
                cursor.close()

    def watermark(self) -> Mapping[str, Any] | None:
        """Return the newest value of ``incremental_by`` that was read, or that of the load before."""
        if self._source.incremental_by is None:
            return None
        last: Any = None if self._since is None else _read(self._since)
        if self._newest is None or (type(last) is type(self._newest) and last > self._newest):
            return self._since
        return _written(self._newest)

    def _execute(self, cursor: dbapi.Cursor, said: str) -> pa.RecordBatchReader:
        try:
            cursor.execute(self._query(said))
            return cursor.fetch_record_batch()
        except (_driver_error(), pa.ArrowException, OSError) as error:
            self._refuse(error, f"{said} fails")

    def _query(self, said: str) -> str:
        query = self._source.query.strip().rstrip(";").rstrip()
        # Whatever follows, here or in the driver, stands on a line of its own: the last one may be a comment.
        if self._since is None or self._source.incremental_by is None:
            return f"{query}\n"
        sign = "`" if self._connection.driver in _BACKTICKS else '"'
        column = sign + self._source.incremental_by.replace(sign, sign * 2) + sign
        begin = _read(self._since) if self._source.lookback is None else self._less_lookback(said)
        # A text compares with a column of any type in every database; a row without a value can only come each time.
        value = str(begin) if isinstance(begin, int) else f"'{begin.isoformat()}'"
        return f"SELECT * FROM (\n{query}\n) newer WHERE newer.{column} >= {value} OR newer.{column} IS NULL"

    def _less_lookback(self, said: str) -> datetime | date | int:
        assert self._since is not None  # noqa: S101 - asked before
        last, lookback = _read(self._since), self._source.lookback
        try:
            if isinstance(last, int) and isinstance(lookback, int):
                return last - lookback
            if isinstance(last, datetime) and isinstance(lookback, timedelta):
                return last - lookback
            if isinstance(last, date) and isinstance(lookback, timedelta):
                # Up to the whole day before: a date minus an hour is that date.
                return last - timedelta(days=-(-lookback // timedelta(days=1)))
        except OverflowError:
            return type(last).min.replace(tzinfo=UTC) if isinstance(last, datetime) else date.min
        raise DataError(
            f'{said} is read by "{self._source.incremental_by}", whose values are like {last}, with a lookback of '
            f"{lookback!r}.",
            hint="The lookback of a column of instants or dates is a timedelta, that of integers an integer.",
        )

    def _check_incremental(self, schema: pa.Schema, said: str) -> None:
        column = self._source.incremental_by
        if column is None:
            return
        if schema.get_field_index(column) < 0:
            raise SchemaError(
                f'{said} gives no column "{column}", by which it is incremental.', hint=closest(column, schema.names)
            )
        dtype = schema.field(column).type
        if pa.types.is_timestamp(dtype) and dtype.tz is None:
            raise TimestampError(
                f'{said} is incremental by "{column}", whose timestamps name no time zone.',
                hint=f"Name it in the query: {column} AT TIME ZONE 'UTC' AS {column}.",
            )
        if not (pa.types.is_timestamp(dtype) or pa.types.is_date(dtype) or pa.types.is_integer(dtype)):
            raise SchemaError(
                f'{said} is incremental by "{column}", which is {dtype}.',
                hint="It has to be a timestamp with a time zone, a date or an integer.",
            )

    def _watch(self, batch: pa.RecordBatch, latest: datetime) -> None:
        if self._source.incremental_by is None:
            return
        column = batch.column(self._source.incremental_by)
        if pa.types.is_timestamp(column.type):
            column = column.cast(pa.timestamp("us", tz="UTC"), safe=False)
            limit: datetime | date | None = latest
        else:
            limit = latest.date() + timedelta(days=1) if pa.types.is_date(column.type) else None
        newest = _newest(column, limit)
        if newest is not None and (self._newest is None or newest > self._newest):
            self._newest = newest

    def _refuse(self, error: Exception, what: str) -> NoReturn:
        raise DataError(f"{what}: {_explain(error, self._connection)}.") from None


def _newest(column: pa.Array, limit: datetime | date | None) -> datetime | date | int | None:
    """Return the greatest value up to the limit; None if there is none.

    A limit stands for the clock: one row from the year 3000, or an infinity, would make the next load skip all others.
    """
    if limit is not None:
        first = datetime.min.replace(tzinfo=UTC) if isinstance(limit, datetime) else date.min
        bounds = (pa.scalar(first, column.type), pa.scalar(limit, column.type))
        column = column.filter(pc.and_(pc.greater_equal(column, bounds[0]), pc.less_equal(column, bounds[1])))
    newest: datetime | date | int | None = pc.max(column).as_py()
    return newest


def _written(value: datetime | date | int) -> dict[str, Any]:
    """Return a watermark as JSON values; :func:`_read` is the way back."""
    if isinstance(value, int):
        return {"integer": value}
    return {"timestamp" if isinstance(value, datetime) else "date": value.isoformat()}


def _read(watermark: Mapping[str, Any]) -> datetime | date | int:
    if "integer" in watermark:
        return int(watermark["integer"])
    if "date" in watermark:
        return date.fromisoformat(watermark["date"])
    return datetime.fromisoformat(watermark["timestamp"])


def _connect(connection: Connection, config: Config, db_schema: str, said: str) -> dbapi.Connection:
    try:
        from adbc_driver_manager import dbapi
    except ModuleNotFoundError as error:
        if error.name != "adbc_driver_manager":
            raise
        raise ConfigError(f"{said} needs ADBC, which is not installed.", hint=_INSTALL) from None
    try:
        return dbapi.connect(
            driver=_driver(connection, config),
            entrypoint=connection.entrypoint or None,
            db_kwargs=dict(connection.options),
            conn_kwargs={"adbc.connection.db_schema": db_schema} if db_schema else None,
        )
    except dbapi.Error as error:
        if "Could not load" in str(error):
            raise ConfigError(
                f'{said} needs the ADBC driver "{connection.driver}", which is not installed.',
                hint=_INSTALL if connection.driver == "postgresql" else _INSTALL_OTHER.format(connection.driver),
            ) from None
        # What a driver quotes of an address that it understands in another way may be a part of the password.
        uri = connection.options.get("uri", "")
        shown = _explain(error, connection) if _ADDRESS.fullmatch(uri) else _UNSHOWN
        raise DataError(
            f"{said} cannot be asked: {shown}.",
            hint=f"Check [connections.{connection.name}] in featurestore.toml, and that the database runs.",
        ) from None


_UNSHOWN = (
    "its uri has not the form driver://user:password@host:port/database, with / and @ in a password as %2F and %40"
)
_INSTALL = "pip install 'featurestore[adbc]'"
_INSTALL_OTHER = "pip install adbc-driver-{}, or give driver the path of its library."


def _driver(connection: Connection, config: Config) -> str:
    """Return the path of a driver's library, or a name that the driver manager may know."""
    name = connection.driver
    if Path(name).name != name or Path(name).suffix:
        return str(config.path(name))
    try:
        package = import_module(f"adbc_driver_{name}")
    except ModuleNotFoundError:
        return name
    # The packages of Apache Arrow have no public name for it.
    locate = getattr(package, "driver_path", None) or package._driver_path
    return str(locate())


def _driver_error() -> type[Exception]:
    from adbc_driver_manager import dbapi

    return dbapi.Error


def _explain(error: Exception, connection: Connection) -> str:
    """Return the database's own first line, without anything secret."""
    text = str(error)
    address = _ADDRESS.fullmatch(connection.options.get("uri", ""))
    secrets = set(connection.secrets)
    if address:
        secrets |= {address["password"] or "", *re.findall(r"=([^&]*)", address["parameters"] or "")} - {""}
    said = _DATABASE_SAYS.search(text)
    line = said.group(1) if said else text.strip().splitlines()[0]
    while (shorter := _STATUS.sub("", line)) != line:
        line = shorter
    for secret in sorted(secrets | {unquote(one) for one in secrets}, key=len, reverse=True):
        line = line.replace(secret, "***")
    return line.strip().rstrip(".")
