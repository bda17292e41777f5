"""Every subject, stream and durable name on the bus is built and parsed here, and nowhere else.

events    `trialbus.v1.evt.<namespace>.<experiment>.<aggregate>.<participle>`
commands  `trialbus.v1.cmd.<namespace>.<experiment>.<verb>`
metrics   `trialbus.v1.metric.<namespace>.<experiment>.<trial>`
pushes    `trialbus.v1.push.<namespace>.<experiment>.<trial>`
claims    `trialbus.v1.claim.<namespace>.<experiment>.<trial>`
outputs   `trialbus.v1.output.<namespace>.<experiment>.<trial>`
checks    `trialbus.v1.check.<namespace>.<experiment>`
logs      `trialbus.v1.log.<host>`             the host percent-encoded: host names hold dots

Publishers, subscribers and people use these *plain* subjects. The event stream stores each event
under `trialbus.v1.part.<partition>.<the same four names>`, so that a durable can be held to one
partition; only the bus itself sees the *stored* form.

Every function raises ValueError for a name that could not stand in a subject: a wildcard or a dot
in a name would reach other people's experiments.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

from trialbus.kernel import ids, limits

EVENT_STREAM = "TRIALBUS_EVENTS"
DEAD_LETTER_STREAM = "TRIALBUS_DEAD_LETTERS"

_EVENT = "trialbus.v1.evt"
_COMMAND = "trialbus.v1.cmd"
_METRIC = "trialbus.v1.metric"
_PUSH = "trialbus.v1.push"
_CLAIM = "trialbus.v1.claim"
_OUTPUT = "trialbus.v1.output"
_CHECK = "trialbus.v1.check"
_LOG = "trialbus.v1.log"
_STORED = "trialbus.v1.part"
_DEAD = "trialbus.v1.dead"

EVENT_STREAM_SUBJECT = f"{_EVENT}.*.*.*.*"
DEAD_LETTER_STREAM_SUBJECT = f"{_DEAD}.*"
# The stream's subject transform: the server computes the partition, see `partition_of`.
STORED_SUBJECT_TEMPLATE = (
    f"{_STORED}.{{{{partition({limits.PARTITIONS},1,2)}}}}."
    "{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}.{{wildcard(4)}}"
)

_WORD_PATTERN = re.compile(r"[a-z]+(_[a-z]+)*")
_TOKEN_PATTERN = re.compile(r"[^\s.*>\x00-\x1f\x7f]+")
_FNV_OFFSET, _FNV_PRIME = 2166136261, 16777619


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSubject:
    namespace: str
    experiment: str
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSubject:
    namespace: str
    experiment: str
    verb: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSubject:
    namespace: str
    experiment: str
    trial: str


def event(namespace: str, experiment: str, event_type: str) -> str:
    """`event_type` is `<aggregate>.<participle>`."""
    aggregate, _, participle = event_type.partition(".")
    names = [_name(namespace), _name(experiment), _word(aggregate), _word(participle)]
    return ".".join([_EVENT, *names])


def command(namespace: str, experiment: str, verb: str) -> str:
    return ".".join([_COMMAND, _name(namespace), _name(experiment), _word(verb)])


def metric(namespace: str, experiment: str, trial: str) -> str:
    return ".".join([_METRIC, _name(namespace), _name(experiment), _name(trial)])


def push(namespace: str, experiment: str, trial: str) -> str:
    """Where metrics are pushed to a trial by who knows its name."""
    return ".".join([_PUSH, _name(namespace), _name(experiment), _name(trial)])


def claim(namespace: str, experiment: str, trial: str) -> str:
    """Where a pod claims an attempt of a trial."""
    return ".".join([_CLAIM, _name(namespace), _name(experiment), _name(trial)])


def output(namespace: str, experiment: str, trial: str) -> str:
    """Where a pod ships what its trial reports."""
    return ".".join([_OUTPUT, _name(namespace), _name(experiment), _name(trial)])


def check(namespace: str, experiment: str) -> str:
    """Where a cluster's launcher is asked whether it can run a template."""
    return ".".join([_CHECK, _name(namespace), _name(experiment)])


def events(
    *, namespace: str | None = None, experiment: str | None = None, event_type: str | None = None
) -> str:
    """The pattern of the events that a subscriber wants; what is not given may be anything."""
    aggregate, participle = (None, None) if event_type is None else _split_type(event_type)
    names = [_any(namespace), _any(experiment), aggregate or "*", participle or "*"]
    return ".".join([_EVENT, *names])


def experiment_events() -> str:
    """Of the life of experiments, without what happens to their trials."""
    return f"{_EVENT}.*.*.experiment.*"


def all_events_of(namespace: str) -> str:
    """Wider than `events(namespace=...)`: whoever may hear it may also ask for any part of it."""
    return f"{_EVENT}.{_name(namespace)}.>"


def commands(verb: str | None = None, *, namespace: str | None = None) -> str:
    return ".".join([_COMMAND, _any(namespace), "*", "*" if verb is None else _word(verb)])


def metrics() -> str:
    return f"{_METRIC}.*.*.*"


def pushes() -> str:
    return f"{_PUSH}.*.*.*"


def claims() -> str:
    return f"{_CLAIM}.*.*.*"


def outputs() -> str:
    return f"{_OUTPUT}.*.*.*"


def checks() -> str:
    return f"{_CHECK}.*.*"


def logs() -> str:
    return f"{_LOG}.*"


def log(host: str) -> str:
    """Where the launcher on `host` is asked for the output of its runs. Any text is a host."""
    if not host:
        raise ValueError("a host must have a name")
    return f"{_LOG}.{quote(host, safe='').replace('.', '%2E')}"


def parse_event(subject: str) -> EventSubject:
    namespace, experiment, aggregate, participle = _tokens(subject, _EVENT, 4)
    return EventSubject(
        namespace=_name(namespace),
        experiment=_name(experiment),
        type=f"{_word(aggregate)}.{_word(participle)}",
    )


def parse_command(subject: str) -> CommandSubject:
    namespace, experiment, verb = _tokens(subject, _COMMAND, 3)
    return CommandSubject(
        namespace=_name(namespace), experiment=_name(experiment), verb=_word(verb)
    )


def parse_metric(subject: str) -> MetricSubject:
    return _trial_subject(subject, _METRIC)


def parse_push(subject: str) -> MetricSubject:
    return _trial_subject(subject, _PUSH)


def parse_claim(subject: str) -> MetricSubject:
    return _trial_subject(subject, _CLAIM)


def parse_output(subject: str) -> MetricSubject:
    return _trial_subject(subject, _OUTPUT)


def _trial_subject(subject: str, prefix: str) -> MetricSubject:
    namespace, experiment, trial = _tokens(subject, prefix, 3)
    return MetricSubject(
        namespace=_name(namespace), experiment=_name(experiment), trial=_name(trial)
    )


def literal(subject: str) -> str:
    """`subject` itself; ValueError when it has wildcards, empty tokens, spaces or controls."""
    tokens = subject.split(".")
    if not all(_TOKEN_PATTERN.fullmatch(token) for token in tokens):
        raise ValueError(f"not a literal subject: {subject!r}")
    return subject


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription on `pattern` gets a message on `subject`."""
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(wanted) == len(tokens) and all(
        want in ("*", token) for want, token in zip(wanted, tokens, strict=True)
    )


def partition_of(namespace: str, experiment: str) -> int:
    """The partition that the server's transform gives: FNV-1a (32 bits) over both names."""
    digest = _FNV_OFFSET
    for byte in (namespace + experiment).encode():
        digest = ((digest ^ byte) * _FNV_PRIME) & 0xFFFFFFFF
    return digest % limits.PARTITIONS


def stored_filter(partition: int, event_type: str) -> str:
    """What a durable of one partition filters on."""
    if not 0 <= partition < limits.PARTITIONS:
        raise ValueError(f"no such partition: {partition}")
    aggregate, participle = _split_type(event_type)
    return f"{_STORED}.{partition}.*.*.{aggregate}.{participle}"


def stored_pattern(pattern: str) -> str:
    """A pattern over plain event subjects, as a pattern over stored ones."""
    if not pattern.startswith(f"{_EVENT}."):
        raise ValueError(f"not an event subject: {pattern!r}")
    return f"{_STORED}.*{pattern[len(_EVENT) :]}"


def plain(stored: str) -> str:
    """The subject that the publisher used; any other subject comes back as it is."""
    if not stored.startswith(f"{_STORED}."):
        return stored
    _, _, rest = stored[len(_STORED) + 1 :].partition(".")
    return f"{_EVENT}.{rest}"


def dead_letter(service: str) -> str:
    return f"{_DEAD}.{_kebab(service)}"


def durable(service: str, partition: int) -> str:
    """The name of the durable consumer of `service` for one partition."""
    return f"{_kebab(service)}-{partition:02d}"


def _tokens(subject: str, prefix: str, count: int) -> list[str]:
    tokens = subject.removeprefix(f"{prefix}.").split(".")
    if not subject.startswith(f"{prefix}.") or len(tokens) != count:
        raise ValueError(f"not a subject of {prefix}: {subject!r}")
    return tokens


def _split_type(event_type: str) -> tuple[str, str]:
    aggregate, _, participle = event_type.partition(".")
    return _word(aggregate), _word(participle)


def _any(name: str | None) -> str:
    return "*" if name is None else _name(name)


def _name(text: str) -> str:
    if not ids.is_name(text):
        raise ValueError(f"not a name: {text!r} (lower-case letters, digits and '-', at most 63)")
    return text


def _word(text: str) -> str:
    if not _WORD_PATTERN.fullmatch(text):
        raise ValueError(f"not a word of a subject: {text!r}")
    return text


def _kebab(service: str) -> str:
    return _word(service).replace("_", "-")
