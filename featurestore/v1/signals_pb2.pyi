import datetime

from google.protobuf import duration_pb2 as _duration_pb2
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
    ALERT_STATE_NO_DATA: _ClassVar[AlertState]
    ALERT_STATE_ERROR: _ClassVar[AlertState]

class AlertChange(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ALERT_CHANGE_UNSPECIFIED: _ClassVar[AlertChange]
    ALERT_CHANGE_FIRED: _ClassVar[AlertChange]
    ALERT_CHANGE_ALERT_ADDED: _ClassVar[AlertChange]
    ALERT_CHANGE_REPEATED: _ClassVar[AlertChange]
    ALERT_CHANGE_ESCALATED: _ClassVar[AlertChange]
    ALERT_CHANGE_ACKNOWLEDGED: _ClassVar[AlertChange]
    ALERT_CHANGE_RESOLVED: _ClassVar[AlertChange]
    ALERT_CHANGE_CLOSED: _ClassVar[AlertChange]

class SignalState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SIGNAL_STATE_UNSPECIFIED: _ClassVar[SignalState]
    SIGNAL_STATE_PENDING: _ClassVar[SignalState]
    SIGNAL_STATE_APPROVED: _ClassVar[SignalState]
    SIGNAL_STATE_REJECTED: _ClassVar[SignalState]
    SIGNAL_STATE_EXPIRED: _ClassVar[SignalState]
    SIGNAL_STATE_ACCEPTED: _ClassVar[SignalState]
    SIGNAL_STATE_RUNNING: _ClassVar[SignalState]
    SIGNAL_STATE_DONE: _ClassVar[SignalState]
    SIGNAL_STATE_FAILED: _ClassVar[SignalState]
    SIGNAL_STATE_WITHDRAWN: _ClassVar[SignalState]

class ActionState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_STATE_UNSPECIFIED: _ClassVar[ActionState]
    ACTION_STATE_PROPOSED: _ClassVar[ActionState]
    ACTION_STATE_DONE: _ClassVar[ActionState]
    ACTION_STATE_FAILED: _ClassVar[ActionState]
    ACTION_STATE_UNDONE: _ClassVar[ActionState]
ALERT_STATE_UNSPECIFIED: AlertState
ALERT_STATE_FIRING: AlertState
ALERT_STATE_RESOLVED: AlertState
ALERT_STATE_NO_DATA: AlertState
ALERT_STATE_ERROR: AlertState
ALERT_CHANGE_UNSPECIFIED: AlertChange
ALERT_CHANGE_FIRED: AlertChange
ALERT_CHANGE_ALERT_ADDED: AlertChange
ALERT_CHANGE_REPEATED: AlertChange
ALERT_CHANGE_ESCALATED: AlertChange
ALERT_CHANGE_ACKNOWLEDGED: AlertChange
ALERT_CHANGE_RESOLVED: AlertChange
ALERT_CHANGE_CLOSED: AlertChange
SIGNAL_STATE_UNSPECIFIED: SignalState
SIGNAL_STATE_PENDING: SignalState
SIGNAL_STATE_APPROVED: SignalState
SIGNAL_STATE_REJECTED: SignalState
SIGNAL_STATE_EXPIRED: SignalState
SIGNAL_STATE_ACCEPTED: SignalState
SIGNAL_STATE_RUNNING: SignalState
SIGNAL_STATE_DONE: SignalState
SIGNAL_STATE_FAILED: SignalState
SIGNAL_STATE_WITHDRAWN: SignalState
ACTION_STATE_UNSPECIFIED: ActionState
ACTION_STATE_PROPOSED: ActionState
ACTION_STATE_DONE: ActionState
ACTION_STATE_FAILED: ActionState
ACTION_STATE_UNDONE: ActionState

class Alert(_message.Message):
    __slots__ = ("incident", "project", "service", "state", "summary", "onset", "decided_at", "evidence", "features", "baseline", "suggested_action", "replay", "rule", "slice", "severity", "reasons", "name", "change", "members", "cause", "model", "runbook", "commands", "acknowledged_by", "features_left_out", "members_left_out")
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
    NAME_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    RUNBOOK_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_BY_FIELD_NUMBER: _ClassVar[int]
    FEATURES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
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
    name: str
    change: AlertChange
    members: _containers.RepeatedCompositeFieldContainer[AlertMember]
    cause: str
    model: str
    runbook: str
    commands: _containers.RepeatedCompositeFieldContainer[Command]
    acknowledged_by: str
    features_left_out: int
    members_left_out: int
    def __init__(self, incident: _Optional[str] = ..., project: _Optional[str] = ..., service: _Optional[str] = ..., state: _Optional[_Union[AlertState, str]] = ..., summary: _Optional[str] = ..., onset: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ..., features: _Optional[_Iterable[_Union[FeatureFinding, _Mapping]]] = ..., baseline: _Optional[str] = ..., suggested_action: _Optional[str] = ..., replay: _Optional[bool] = ..., rule: _Optional[str] = ..., slice: _Optional[str] = ..., severity: _Optional[str] = ..., reasons: _Optional[_Iterable[str]] = ..., name: _Optional[str] = ..., change: _Optional[_Union[AlertChange, str]] = ..., members: _Optional[_Iterable[_Union[AlertMember, _Mapping]]] = ..., cause: _Optional[str] = ..., model: _Optional[str] = ..., runbook: _Optional[str] = ..., commands: _Optional[_Iterable[_Union[Command, _Mapping]]] = ..., acknowledged_by: _Optional[str] = ..., features_left_out: _Optional[int] = ..., members_left_out: _Optional[int] = ...) -> None: ...

class AlertMember(_message.Message):
    __slots__ = ("alert", "policy", "service", "rule", "slice", "state", "onset", "summary", "features", "features_left_out")
    ALERT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    SLICE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ONSET_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    FEATURES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    alert: str
    policy: str
    service: str
    rule: str
    slice: str
    state: AlertState
    onset: _timestamp_pb2.Timestamp
    summary: str
    features: _containers.RepeatedScalarFieldContainer[str]
    features_left_out: int
    def __init__(self, alert: _Optional[str] = ..., policy: _Optional[str] = ..., service: _Optional[str] = ..., rule: _Optional[str] = ..., slice: _Optional[str] = ..., state: _Optional[_Union[AlertState, str]] = ..., onset: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., summary: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., features_left_out: _Optional[int] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("name", "text")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    name: str
    text: str
    def __init__(self, name: _Optional[str] = ..., text: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("feature", "statistic", "effect", "effect_low", "effect_high", "threshold", "baseline_null_rate", "current_null_rate", "baseline_mean", "current_mean", "baseline_rows", "current_rows", "histogram", "importance", "view", "source")
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
    HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    IMPORTANCE_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
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
    histogram: Histogram
    importance: float
    view: str
    source: str
    def __init__(self, feature: _Optional[str] = ..., statistic: _Optional[str] = ..., effect: _Optional[float] = ..., effect_low: _Optional[float] = ..., effect_high: _Optional[float] = ..., threshold: _Optional[float] = ..., baseline_null_rate: _Optional[float] = ..., current_null_rate: _Optional[float] = ..., baseline_mean: _Optional[float] = ..., current_mean: _Optional[float] = ..., baseline_rows: _Optional[int] = ..., current_rows: _Optional[int] = ..., histogram: _Optional[_Union[Histogram, _Mapping]] = ..., importance: _Optional[float] = ..., view: _Optional[str] = ..., source: _Optional[str] = ...) -> None: ...

class Histogram(_message.Message):
    __slots__ = ("labels", "baseline", "current")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BASELINE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    baseline: _containers.RepeatedScalarFieldContainer[float]
    current: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., baseline: _Optional[_Iterable[float]] = ..., current: _Optional[_Iterable[float]] = ...) -> None: ...

class RetrainingSignal(_message.Message):
    __slots__ = ("id", "project", "service", "baseline", "reason", "created_at", "evidence", "features", "incident", "replay", "model", "cause", "state", "request", "expires_at", "commands", "features_left_out")
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
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
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
    cause: str
    state: SignalState
    request: TrainingRequest
    expires_at: _timestamp_pb2.Timestamp
    commands: _containers.RepeatedCompositeFieldContainer[Command]
    features_left_out: int
    def __init__(self, id: _Optional[str] = ..., project: _Optional[str] = ..., service: _Optional[str] = ..., baseline: _Optional[str] = ..., reason: _Optional[str] = ..., created_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ..., features: _Optional[_Iterable[_Union[FeatureFinding, _Mapping]]] = ..., incident: _Optional[str] = ..., replay: _Optional[bool] = ..., model: _Optional[str] = ..., cause: _Optional[str] = ..., state: _Optional[_Union[SignalState, str]] = ..., request: _Optional[_Union[TrainingRequest, _Mapping]] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., commands: _Optional[_Iterable[_Union[Command, _Mapping]]] = ..., features_left_out: _Optional[int] = ...) -> None: ...

class TrainingRequest(_message.Message):
    __slots__ = ("service", "dataset", "since", "until", "entity_rows", "left_out", "label_delay", "definitions", "hash", "command", "as_of", "label", "timestamp_field")
    class DefinitionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    ENTITY_ROWS_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    LABEL_DELAY_FIELD_NUMBER: _ClassVar[int]
    DEFINITIONS_FIELD_NUMBER: _ClassVar[int]
    HASH_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_FIELD_NUMBER: _ClassVar[int]
    service: str
    dataset: str
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    entity_rows: str
    left_out: _containers.RepeatedCompositeFieldContainer[Interval]
    label_delay: _duration_pb2.Duration
    definitions: _containers.ScalarMap[str, str]
    hash: str
    command: str
    as_of: _timestamp_pb2.Timestamp
    label: str
    timestamp_field: str
    def __init__(self, service: _Optional[str] = ..., dataset: _Optional[str] = ..., since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., entity_rows: _Optional[str] = ..., left_out: _Optional[_Iterable[_Union[Interval, _Mapping]]] = ..., label_delay: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., definitions: _Optional[_Mapping[str, str]] = ..., hash: _Optional[str] = ..., command: _Optional[str] = ..., as_of: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., label: _Optional[str] = ..., timestamp_field: _Optional[str] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("since", "until", "reason")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    until: _timestamp_pb2.Timestamp
    reason: str
    def __init__(self, since: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ...) -> None: ...

class WatchSignalsRequest(_message.Message):
    __slots__ = ("after", "services")
    AFTER_FIELD_NUMBER: _ClassVar[int]
    SERVICES_FIELD_NUMBER: _ClassVar[int]
    after: int
    services: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, after: _Optional[int] = ..., services: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchSignalsResponse(_message.Message):
    __slots__ = ("cursor", "signal", "at", "who", "reason", "dataset", "model")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    WHO_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    cursor: int
    signal: RetrainingSignal
    at: _timestamp_pb2.Timestamp
    who: str
    reason: str
    dataset: str
    model: str
    def __init__(self, cursor: _Optional[int] = ..., signal: _Optional[_Union[RetrainingSignal, _Mapping]] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., who: _Optional[str] = ..., reason: _Optional[str] = ..., dataset: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class AcknowledgeSignalRequest(_message.Message):
    __slots__ = ("id", "state", "reason", "dataset", "model")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    state: SignalState
    reason: str
    dataset: str
    model: str
    def __init__(self, id: _Optional[str] = ..., state: _Optional[_Union[SignalState, str]] = ..., reason: _Optional[str] = ..., dataset: _Optional[str] = ..., model: _Optional[str] = ...) -> None: ...

class AcknowledgeSignalResponse(_message.Message):
    __slots__ = ("state", "cursor")
    STATE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    state: SignalState
    cursor: int
    def __init__(self, state: _Optional[_Union[SignalState, str]] = ..., cursor: _Optional[int] = ...) -> None: ...

class Action(_message.Message):
    __slots__ = ("id", "project", "service", "kind", "target", "state", "summary", "incident", "at", "replay", "commands", "severity")
    ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    INCIDENT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    REPLAY_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    id: str
    project: str
    service: str
    kind: str
    target: str
    state: ActionState
    summary: str
    incident: str
    at: _timestamp_pb2.Timestamp
    replay: bool
    commands: _containers.RepeatedCompositeFieldContainer[Command]
    severity: str
    def __init__(self, id: _Optional[str] = ..., project: _Optional[str] = ..., service: _Optional[str] = ..., kind: _Optional[str] = ..., target: _Optional[str] = ..., state: _Optional[_Union[ActionState, str]] = ..., summary: _Optional[str] = ..., incident: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., replay: _Optional[bool] = ..., commands: _Optional[_Iterable[_Union[Command, _Mapping]]] = ..., severity: _Optional[str] = ...) -> None: ...
