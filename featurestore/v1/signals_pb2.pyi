import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AlertState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALERT_STATE_UNSPECIFIED: _ClassVar[AlertState]
    ALERT_STATE_FIRING: _ClassVar[AlertState]
    ALERT_STATE_RESOLVED: _ClassVar[AlertState]
ALERT_STATE_UNSPECIFIED: AlertState
ALERT_STATE_FIRING: AlertState
ALERT_STATE_RESOLVED: AlertState

class Alert(_message.Message):
    __slots__ = ("incident", "project", "service", "state", "summary", "onset", "decided_at", "evidence", "features", "baseline", "suggested_action", "replay", "rule", "slice", "severity", "reasons")
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    ONSET_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    SUGGESTED_ACTION_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    incident: str
    project: str
    service: str
    state: AlertState
    summary: str
    onset: _timestamp_pb2.Timestamp
    decided_at: _timestamp_pb2.Timestamp
    evidence: Evidence
    features: _containers.RepeatedCompositeFieldContainer[FeatureFinding]
    baseline: str
    suggested_action: str
    replay: bool
    rule: str
    slice: str
    severity: str
    reasons: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, incident: _Optional[str] = ..., project: _Optional[str] = ..., service: _Optional[str] = ..., state: _Optional[_Union[AlertState, str]] = ..., summary: _Optional[str] = ..., onset: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ..., features: _Optional[_Iterable[_Union[FeatureFinding, _Mapping]]] = ..., baseline: _Optional[str] = ..., suggested_action: _Optional[str] = ..., replay: _Optional[bool] = ..., rule: _Optional[str] = ..., slice: _Optional[str] = ..., severity: _Optional[str] = ..., reasons: _Optional[_Iterable[str]] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("log_value", "log_limit", "windows")
    LOG_VALUE_FIELD_NUMBER: _ClassVar[int]
    LOG_LIMIT_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    log_value: float
    log_limit: float
    windows: int
    def __init__(self, log_value: _Optional[float] = ..., log_limit: _Optional[float] = ..., windows: _Optional[int] = ...) -> None: ...

class FeatureFinding(_message.Message):
    __slots__ = ("feature", "statistic", "effect", "effect_low", "effect_high", "threshold", "baseline_null_rate", "current_null_rate", "baseline_mean", "current_mean", "baseline_rows", "current_rows")
    FEATURE_FIELD_NUMBER: _ClassVar[int]
    STATISTIC_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    EFFECT_LOW_FIELD_NUMBER: _ClassVar[int]
    EFFECT_HIGH_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    BASELINE_NULL_RATE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_NULL_RATE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_MEAN_FIELD_NUMBER: _ClassVar[int]
    CURRENT_MEAN_FIELD_NUMBER: _ClassVar[int]
    BASELINE_ROWS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_ROWS_FIELD_NUMBER: _ClassVar[int]
    feature: str
    statistic: str
    effect: float
    effect_low: float
    effect_high: float
    threshold: float
    baseline_null_rate: float
    current_null_rate: float
    baseline_mean: float
    current_mean: float
    baseline_rows: int
    current_rows: int
    def __init__(self, feature: _Optional[str] = ..., statistic: _Optional[str] = ..., effect: _Optional[float] = ..., effect_low: _Optional[float] = ..., effect_high: _Optional[float] = ..., threshold: _Optional[float] = ..., baseline_null_rate: _Optional[float] = ..., current_null_rate: _Optional[float] = ..., baseline_mean: _Optional[float] = ..., current_mean: _Optional[float] = ..., baseline_rows: _Optional[int] = ..., current_rows: _Optional[int] = ...) -> None: ...

class RetrainingSignal(_message.Message):
    __slots__ = ("id", "project", "service", "baseline", "reason", "created_at", "evidence", "features", "incident", "replay", "model")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    project: str
    service: str
    baseline: str
    reason: str
    created_at: _timestamp_pb2.Timestamp
    evidence: Evidence
    features: _containers.RepeatedCompositeFieldContainer[FeatureFinding]
    incident: str
    replay: bool
    model: str
    def __init__(self, id: _Optional[str] = ..., project: _Optional[str] = ..., service: _Optional[str] = ..., baseline: _Optional[str] = ..., reason: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ..., features: _Optional[_Iterable[_Union[FeatureFinding, _Mapping]]] = ..., incident: _Optional[str] = ..., replay: _Optional[bool] = ..., model: _Optional[str] = ...) -> None: ...
