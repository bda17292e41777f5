from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_UNSPECIFIED: _ClassVar[State]
    STATE_SUCCEEDED: _ClassVar[State]
    STATE_FAILED: _ClassVar[State]
STATE_UNSPECIFIED: State
STATE_SUCCEEDED: State
STATE_FAILED: State

class AskRequest(_message.Message):
    __slots__ = ("namespace", "experiment", "ask")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    experiment: str
    ask: Ask
    def __init__(self, namespace: _Optional[str] = ..., experiment: _Optional[str] = ..., ask: _Optional[_Union[Ask, _Mapping]] = ...) -> None: ...

class ReportRequest(_message.Message):
    __slots__ = ("namespace", "experiment", "reports")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    REPORTS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    experiment: str
    reports: _containers.RepeatedCompositeFieldContainer[Report]
    def __init__(self, namespace: _Optional[str] = ..., experiment: _Optional[str] = ..., reports: _Optional[_Iterable[_Union[Report, _Mapping]]] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("namespace", "experiment", "trials")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    experiment: str
    trials: _containers.RepeatedCompositeFieldContainer[HeldTrial]
    def __init__(self, namespace: _Optional[str] = ..., experiment: _Optional[str] = ..., trials: _Optional[_Iterable[_Union[HeldTrial, _Mapping]]] = ...) -> None: ...

class TellRequest(_message.Message):
    __slots__ = ("namespace", "experiment", "results", "ask")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    ASK_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    experiment: str
    results: _containers.RepeatedCompositeFieldContainer[Result]
    ask: Ask
    def __init__(self, namespace: _Optional[str] = ..., experiment: _Optional[str] = ..., results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ..., ask: _Optional[_Union[Ask, _Mapping]] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("namespace", "experiment", "trials")
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    EXPERIMENT_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    namespace: str
    experiment: str
    trials: _containers.RepeatedCompositeFieldContainer[HeldTrial]
    def __init__(self, namespace: _Optional[str] = ..., experiment: _Optional[str] = ..., trials: _Optional[_Iterable[_Union[HeldTrial, _Mapping]]] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("id", "worker", "count", "lease", "wait")
    ID_FIELD_NUMBER: _ClassVar[int]
    WORKER_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    id: str
    worker: str
    count: int
    lease: float
    wait: float
    def __init__(self, id: _Optional[str] = ..., worker: _Optional[str] = ..., count: _Optional[int] = ..., lease: _Optional[float] = ..., wait: _Optional[float] = ...) -> None: ...

class HeldTrial(_message.Message):
    __slots__ = ("trial", "attempt")
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    trial: str
    attempt: int
    def __init__(self, trial: _Optional[str] = ..., attempt: _Optional[int] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("trial", "attempt", "metrics", "step", "id", "at")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    trial: str
    attempt: int
    metrics: _containers.ScalarMap[str, float]
    step: int
    id: str
    at: float
    def __init__(self, trial: _Optional[str] = ..., attempt: _Optional[int] = ..., metrics: _Optional[_Mapping[str, float]] = ..., step: _Optional[int] = ..., id: _Optional[str] = ..., at: _Optional[float] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("trial", "attempt", "state", "metrics", "message", "reported")
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REPORTED_FIELD_NUMBER: _ClassVar[int]
    trial: str
    attempt: int
    state: State
    metrics: _containers.ScalarMap[str, float]
    message: str
    reported: bool
    def __init__(self, trial: _Optional[str] = ..., attempt: _Optional[int] = ..., state: _Optional[_Union[State, str]] = ..., metrics: _Optional[_Mapping[str, float]] = ..., message: _Optional[str] = ..., reported: _Optional[bool] = ...) -> None: ...

class WorkReply(_message.Message):
    __slots__ = ("phase", "over", "answers", "trials")
    PHASE_FIELD_NUMBER: _ClassVar[int]
    OVER_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    phase: str
    over: bool
    answers: _containers.RepeatedCompositeFieldContainer[Answer]
    trials: _containers.RepeatedCompositeFieldContainer[GivenTrial]
    def __init__(self, phase: _Optional[str] = ..., over: _Optional[bool] = ..., answers: _Optional[_Iterable[_Union[Answer, _Mapping]]] = ..., trials: _Optional[_Iterable[_Union[GivenTrial, _Mapping]]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("trial", "attempt", "accepted", "refused", "stop")
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    trial: str
    attempt: int
    accepted: bool
    refused: str
    stop: str
    def __init__(self, trial: _Optional[str] = ..., attempt: _Optional[int] = ..., accepted: _Optional[bool] = ..., refused: _Optional[str] = ..., stop: _Optional[str] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("number", "integer", "text")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    number: float
    integer: int
    text: str
    def __init__(self, number: _Optional[float] = ..., integer: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class GivenTrial(_message.Message):
    __slots__ = ("trial", "attempt", "index", "parameters", "lease", "checkpoint", "parent", "labels", "traceparent")
    class ParametersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    PARENT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    trial: str
    attempt: int
    index: int
    parameters: _containers.MessageMap[str, Value]
    lease: float
    checkpoint: str
    parent: str
    labels: _containers.ScalarMap[str, str]
    traceparent: str
    def __init__(self, trial: _Optional[str] = ..., attempt: _Optional[int] = ..., index: _Optional[int] = ..., parameters: _Optional[_Mapping[str, Value]] = ..., lease: _Optional[float] = ..., checkpoint: _Optional[str] = ..., parent: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., traceparent: _Optional[str] = ...) -> None: ...
