"""The table of types: ours, and what each is called in Arrow, DuckDB, Polars and on the wire.

Foreign types stand here by name, so importing this package imports none of those libraries; the thin client needs
it beside grpcio, protobuf and numpy alone.

| ours            | Arrow                     | DuckDB                   | Polars            | wire                  |
| --------------- | ------------------------- | ------------------------ | ----------------- | --------------------- |
| Bool            | bool                      | BOOLEAN                  | Boolean           | bools                 |
| Int32           | int32                     | INTEGER                  | Int32             | int32s                |
| Int64           | int64                     | BIGINT                   | Int64             | int64s                |
| Float32         | float                     | FLOAT                    | Float32           | floats                |
| Float64         | double                    | DOUBLE                   | Float64           | doubles               |
| Decimal(10, 2)  | decimal128(10, 2)         | DECIMAL(10,2)            | Decimal(10, 2)    | strings: "1.11"       |
| String          | string                    | VARCHAR                  | String            | strings               |
| Bytes           | binary                    | BLOB                     | Binary            | blobs                 |
| Date            | date32[day]               | DATE                     | Date              | int32s: days          |
| Timestamp       | timestamp[us, tz=UTC]     | TIMESTAMP WITH TIME ZONE | Datetime(us, UTC) | int64s: us since 1970 |
| Array(Int64)    | list<int64>               | BIGINT[]                 | List(Int64)       | nested                |
| Embedding(3)    | fixed_size_list<float>[3] | FLOAT[3]                 | Array(Float32, 3) | floats: 3 of them     |
| Struct(a Int64) | struct<a: int64>          | STRUCT("a" BIGINT)       | Struct            | nested                |

The wire's names are the members of ``FeatureRow`` and ``Values``. A name such as ``Struct(a Int64)`` is made by
``Struct({"a": Int64})`` and read by :func:`by_name`.

An Array has elements of one type, some null, or none at all; the numbers of an Embedding are never null. Delta has no
lists of a fixed size: an offline table keeps an Embedding as list<float>, and every reader gets its size back.
"""

from featurestore.types.instants import microseconds, utc
from featurestore.types.names import by_name
from featurestore.types.table import (
    BY_NAME,
    Array,
    Bool,
    Bytes,
    Date,
    Decimal,
    DType,
    Embedding,
    Float32,
    Float64,
    Int32,
    Int64,
    String,
    Struct,
    Timestamp,
    exact_decimal,
)

__all__ = [
    "BY_NAME",
    "Array",
    "Bool",
    "Bytes",
    "DType",
    "Date",
    "Decimal",
    "Embedding",
    "Float32",
    "Float64",
    "Int32",
    "Int64",
    "String",
    "Struct",
    "Timestamp",
    "by_name",
    "exact_decimal",
    "microseconds",
    "utc",
]
