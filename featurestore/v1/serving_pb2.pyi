from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RowStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROW_STATUS_UNSPECIFIED: _ClassVar[RowStatus]
    ROW_STATUS_PRESENT: _ClassVar[RowStatus]
    ROW_STATUS_NOT_FOUND: _ClassVar[RowStatus]
    ROW_STATUS_OUTSIDE_MAX_AGE: _ClassVar[RowStatus]
ROW_STATUS_UNSPECIFIED: RowStatus
ROW_STATUS_PRESENT: RowStatus
ROW_STATUS_NOT_FOUND: RowStatus
ROW_STATUS_OUTSIDE_MAX_AGE: RowStatus

class Column(_message.Message):
    __slots__ = ("name", "int64s", "doubles", "strings", "blobs", "bools", "nested", "nulls")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INT64S_FIELD_NUMBER: _ClassVar[int]
    DOUBLES_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    BOOLS_FIELD_NUMBER: _ClassVar[int]
    NESTED_FIELD_NUMBER: _ClassVar[int]
    NULLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    int64s: Int64Values
    doubles: DoubleValues
    strings: StringValues
    blobs: BytesValues
    bools: BoolValues
    nested: NestedValues
    nulls: bytes
    def __init__(self, name: _Optional[str] = ..., int64s: _Optional[_Union[Int64Values, _Mapping]] = ..., doubles: _Optional[_Union[DoubleValues, _Mapping]] = ..., strings: _Optional[_Union[StringValues, _Mapping]] = ..., blobs: _Optional[_Union[BytesValues, _Mapping]] = ..., bools: _Optional[_Union[BoolValues, _Mapping]] = ..., nested: _Optional[_Union[NestedValues, _Mapping]] = ..., nulls: _Optional[bytes] = ...) -> None: ...

class Int64Values(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, values: _Optional[_Iterable[int]] = ...) -> None: ...

class DoubleValues(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, values: _Optional[_Iterable[float]] = ...) -> None: ...

class StringValues(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class BytesValues(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, values: _Optional[_Iterable[bytes]] = ...) -> None: ...

class BoolValues(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[bool]
    def __init__(self, values: _Optional[_Iterable[bool]] = ...) -> None: ...

class NestedValues(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Values]
    def __init__(self, values: _Optional[_Iterable[_Union[Values, _Mapping]]] = ...) -> None: ...

class GetOnlineFeaturesRequest(_message.Message):
    __slots__ = ("service", "columns", "request_id", "routing_key")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROUTING_KEY_FIELD_NUMBER: _ClassVar[int]
    service: str
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    request_id: str
    routing_key: str
    def __init__(self, service: _Optional[str] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., request_id: _Optional[str] = ..., routing_key: _Optional[str] = ...) -> None: ...

class GetOnlineFeaturesResponse(_message.Message):
    __slots__ = ("request_id", "service", "served_at", "replay", "row_count", "stale", "complete_to", "rows")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    SERVED_AT_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_TO_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    service: str
    served_at: int
    replay: bool
    row_count: int
    stale: bool
    complete_to: int
    rows: _containers.RepeatedCompositeFieldContainer[FeatureRow]
    def __init__(self, request_id: _Optional[str] = ..., service: _Optional[str] = ..., served_at: _Optional[int] = ..., replay: _Optional[bool] = ..., row_count: _Optional[int] = ..., stale: _Optional[bool] = ..., complete_to: _Optional[int] = ..., rows: _Optional[_Iterable[_Union[FeatureRow, _Mapping]]] = ...) -> None: ...

class FeatureRow(_message.Message):
    __slots__ = ("status", "event_timestamp", "nulls", "doubles", "int64s", "floats", "int32s", "bools", "strings", "blobs", "nested")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    NULLS_FIELD_NUMBER: _ClassVar[int]
    DOUBLES_FIELD_NUMBER: _ClassVar[int]
    INT64S_FIELD_NUMBER: _ClassVar[int]
    FLOATS_FIELD_NUMBER: _ClassVar[int]
    INT32S_FIELD_NUMBER: _ClassVar[int]
    BOOLS_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    NESTED_FIELD_NUMBER: _ClassVar[int]
    status: RowStatus
    event_timestamp: int
    nulls: bytes
    doubles: _containers.RepeatedScalarFieldContainer[float]
    int64s: _containers.RepeatedScalarFieldContainer[int]
    floats: _containers.RepeatedScalarFieldContainer[float]
    int32s: _containers.RepeatedScalarFieldContainer[int]
    bools: _containers.RepeatedScalarFieldContainer[bool]
    strings: _containers.RepeatedScalarFieldContainer[str]
    blobs: _containers.RepeatedScalarFieldContainer[bytes]
    nested: _containers.RepeatedCompositeFieldContainer[Values]
    def __init__(self, status: _Optional[_Union[RowStatus, str]] = ..., event_timestamp: _Optional[int] = ..., nulls: _Optional[bytes] = ..., doubles: _Optional[_Iterable[float]] = ..., int64s: _Optional[_Iterable[int]] = ..., floats: _Optional[_Iterable[float]] = ..., int32s: _Optional[_Iterable[int]] = ..., bools: _Optional[_Iterable[bool]] = ..., strings: _Optional[_Iterable[str]] = ..., blobs: _Optional[_Iterable[bytes]] = ..., nested: _Optional[_Iterable[_Union[Values, _Mapping]]] = ...) -> None: ...

class Values(_message.Message):
    __slots__ = ("nulls", "doubles", "int64s", "floats", "int32s", "bools", "strings", "blobs", "nested")
    NULLS_FIELD_NUMBER: _ClassVar[int]
    DOUBLES_FIELD_NUMBER: _ClassVar[int]
    INT64S_FIELD_NUMBER: _ClassVar[int]
    FLOATS_FIELD_NUMBER: _ClassVar[int]
    INT32S_FIELD_NUMBER: _ClassVar[int]
    BOOLS_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    NESTED_FIELD_NUMBER: _ClassVar[int]
    nulls: bytes
    doubles: _containers.RepeatedScalarFieldContainer[float]
    int64s: _containers.RepeatedScalarFieldContainer[int]
    floats: _containers.RepeatedScalarFieldContainer[float]
    int32s: _containers.RepeatedScalarFieldContainer[int]
    bools: _containers.RepeatedScalarFieldContainer[bool]
    strings: _containers.RepeatedScalarFieldContainer[str]
    blobs: _containers.RepeatedScalarFieldContainer[bytes]
    nested: _containers.RepeatedCompositeFieldContainer[Values]
    def __init__(self, nulls: _Optional[bytes] = ..., doubles: _Optional[_Iterable[float]] = ..., int64s: _Optional[_Iterable[int]] = ..., floats: _Optional[_Iterable[float]] = ..., int32s: _Optional[_Iterable[int]] = ..., bools: _Optional[_Iterable[bool]] = ..., strings: _Optional[_Iterable[str]] = ..., blobs: _Optional[_Iterable[bytes]] = ..., nested: _Optional[_Iterable[_Union[Values, _Mapping]]] = ...) -> None: ...

class StreamOnlineFeaturesRequest(_message.Message):
    __slots__ = ("correlation_id", "request")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    correlation_id: int
    request: GetOnlineFeaturesRequest
    def __init__(self, correlation_id: _Optional[int] = ..., request: _Optional[_Union[GetOnlineFeaturesRequest, _Mapping]] = ...) -> None: ...

class StreamOnlineFeaturesResponse(_message.Message):
    __slots__ = ("correlation_id", "response", "error")
    CORRELATION_ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    correlation_id: int
    response: GetOnlineFeaturesResponse
    error: Error
    def __init__(self, correlation_id: _Optional[int] = ..., response: _Optional[_Union[GetOnlineFeaturesResponse, _Mapping]] = ..., error: _Optional[_Union[Error, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "hint", "field", "limit")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    hint: str
    field: str
    limit: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., hint: _Optional[str] = ..., field: _Optional[str] = ..., limit: _Optional[str] = ...) -> None: ...

class PushFeaturesRequest(_message.Message):
    __slots__ = ("view", "columns")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    view: str
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    def __init__(self, view: _Optional[str] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ...) -> None: ...

class PushFeaturesResponse(_message.Message):
    __slots__ = ("view", "rows_accepted", "rejected")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    ROWS_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    view: str
    rows_accepted: int
    rejected: _containers.RepeatedCompositeFieldContainer[RejectedRow]
    def __init__(self, view: _Optional[str] = ..., rows_accepted: _Optional[int] = ..., rejected: _Optional[_Iterable[_Union[RejectedRow, _Mapping]]] = ...) -> None: ...

class RejectedRow(_message.Message):
    __slots__ = ("row", "reason")
    ROW_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    row: int
    reason: str
    def __init__(self, row: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class LogPredictionsRequest(_message.Message):
    __slots__ = ("model", "predictions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    predictions: _containers.RepeatedCompositeFieldContainer[Prediction]
    def __init__(self, model: _Optional[str] = ..., predictions: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("prediction_id", "request_id", "row", "number", "label", "probabilities", "predicted_at")
    class ProbabilitiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITIES_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_AT_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    request_id: str
    row: int
    number: float
    label: str
    probabilities: _containers.ScalarMap[str, float]
    predicted_at: int
    def __init__(self, prediction_id: _Optional[str] = ..., request_id: _Optional[str] = ..., row: _Optional[int] = ..., number: _Optional[float] = ..., label: _Optional[str] = ..., probabilities: _Optional[_Mapping[str, float]] = ..., predicted_at: _Optional[int] = ...) -> None: ...

class LogPredictionsResponse(_message.Message):
    __slots__ = ("model", "predictions_logged")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_LOGGED_FIELD_NUMBER: _ClassVar[int]
    model: str
    predictions_logged: int
    def __init__(self, model: _Optional[str] = ..., predictions_logged: _Optional[int] = ...) -> None: ...

class LogOutcomesRequest(_message.Message):
    __slots__ = ("model", "outcomes")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    model: str
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, model: _Optional[str] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("prediction_id", "metric", "number", "label", "observed_at")
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_AT_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    metric: str
    number: float
    label: str
    observed_at: int
    def __init__(self, prediction_id: _Optional[str] = ..., metric: _Optional[str] = ..., number: _Optional[float] = ..., label: _Optional[str] = ..., observed_at: _Optional[int] = ...) -> None: ...

class LogOutcomesResponse(_message.Message):
    __slots__ = ("outcomes_logged",)
    OUTCOMES_LOGGED_FIELD_NUMBER: _ClassVar[int]
    outcomes_logged: int
    def __init__(self, outcomes_logged: _Optional[int] = ...) -> None: ...

class GetServiceSchemaRequest(_message.Message):
    __slots__ = ("service",)
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    service: str
    def __init__(self, service: _Optional[str] = ...) -> None: ...

class GetServiceSchemaResponse(_message.Message):
    __slots__ = ("service", "content_hash", "join_keys", "request_fields", "views", "replay")
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_HASH_FIELD_NUMBER: _ClassVar[int]
    JOIN_KEYS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELDS_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    service: str
    content_hash: str
    join_keys: _containers.RepeatedCompositeFieldContainer[FieldSchema]
    request_fields: _containers.RepeatedCompositeFieldContainer[FieldSchema]
    views: _containers.RepeatedCompositeFieldContainer[ViewSchema]
    replay: bool
    def __init__(self, service: _Optional[str] = ..., content_hash: _Optional[str] = ..., join_keys: _Optional[_Iterable[_Union[FieldSchema, _Mapping]]] = ..., request_fields: _Optional[_Iterable[_Union[FieldSchema, _Mapping]]] = ..., views: _Optional[_Iterable[_Union[ViewSchema, _Mapping]]] = ..., replay: _Optional[bool] = ...) -> None: ...

class ViewSchema(_message.Message):
    __slots__ = ("name", "version", "features", "on_demand")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    ON_DEMAND_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    features: _containers.RepeatedCompositeFieldContainer[FieldSchema]
    on_demand: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., features: _Optional[_Iterable[_Union[FieldSchema, _Mapping]]] = ..., on_demand: _Optional[bool] = ...) -> None: ...

class FieldSchema(_message.Message):
    __slots__ = ("name", "dtype", "optional")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    OPTIONAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: str
    optional: bool
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[str] = ..., optional: _Optional[bool] = ...) -> None: ...

class AdvanceClockRequest(_message.Message):
    __slots__ = ("now",)
    NOW_FIELD_NUMBER: _ClassVar[int]
    now: int
    def __init__(self, now: _Optional[int] = ...) -> None: ...

class AdvanceClockResponse(_message.Message):
    __slots__ = ("now", "rows_materialized")
    NOW_FIELD_NUMBER: _ClassVar[int]
    ROWS_MATERIALIZED_FIELD_NUMBER: _ClassVar[int]
    now: int
    rows_materialized: int
    def __init__(self, now: _Optional[int] = ..., rows_materialized: _Optional[int] = ...) -> None: ...
