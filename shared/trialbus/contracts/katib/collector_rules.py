"""The rules of `spec.metricsCollectorSpec`: Katib's 44 to 49, and what one machine can do.

Numbers are those of Katib's validation webhook (validator.go).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trialbus.contracts.katib.job_fields import container_problems
from trialbus.contracts.katib.models import (
    CollectorSpec,
    FileSystemPath,
    HttpGet,
    MetricsCollectorSpec,
    SourceSpec,
)
from trialbus.contracts.katib.shape import did_you_mean
from trialbus.kernel import spec as kernel
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.job_templates import TRIAL_SPEC_FIELD, read_job
from trialbus.kernel.limits import MAX_FORMAT_GROUPS, MAX_METRIC_FORMATS
from trialbus.kernel.metric_lines import MetricFilter
from trialbus.kernel.spec import CollectorKind, MetricsFormat, PathKind
from trialbus.kernel.templates import METRICS_PORT_VARIABLE, mentions

Json = Any

_FIELD = "spec.metricsCollectorSpec"
_PATH = f"{_FIELD}.source.fileSystemPath"
_GET = f"{_FIELD}.source.httpGet"
_FILTER = f"{_FIELD}.source.filter"
_CUSTOM = f"{_FIELD}.collector.customCollector"
_ONLY_CONTAINER = f"{TRIAL_SPEC_FIELD}.spec.template.spec.containers[0]"
_MAX_PORT = 65_535
_PORT = re.compile(r"[0-9]{1,10}", re.ASCII)
# RFC 9110, 5.6.2 and 5.5: what else is in a header ends it.
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_SCHEMES = ("HTTP", "HTTPS")
# A trial's output may hold what its metrics look like; the other sources have a form of their own.
_READS_LINES = frozenset({CollectorKind.STDOUT, CollectorKind.FILE})
_HAS_PATH = frozenset({CollectorKind.FILE, CollectorKind.TENSORFLOW_EVENT, CollectorKind.CUSTOM})


def collector_problems(spec: MetricsCollectorSpec | None) -> Iterator[Problem]:
    """`spec` has its defaults."""
    spec = spec or MetricsCollectorSpec()
    source, collector = spec.source or SourceSpec(), spec.collector or CollectorSpec()
    kinds = [kind.value for kind in CollectorKind]
    match collector.kind:
        case CollectorKind.STDOUT | CollectorKind.PUSH:
            pass
        case CollectorKind.FILE:
            yield from _file_problems(source)
        case CollectorKind.TENSORFLOW_EVENT:
            yield from _event_problems(source.file_system_path or FileSystemPath())
        case CollectorKind.PROMETHEUS_METRIC:
            yield from _endpoint_problems(source.http_get or HttpGet())
        case CollectorKind.CUSTOM:
            yield from _custom_problems(source.file_system_path, collector.custom_collector)
        case _:  # 44
            hint = did_you_mean(collector.kind or "", kinds) or f"; kinds: {', '.join(kinds)}"
            message = f"invalid metrics collector kind: {_shown(collector.kind)}{hint}"
            yield Problem(field=f"{_FIELD}.collector.kind", message=message)
    yield from _filter_problems(_formats(source))


def _file_problems(source: SourceSpec) -> Iterator[Problem]:
    at = source.file_system_path or FileSystemPath()
    yield from _path_problems(at, PathKind.FILE, "file path where metrics file exists is required")
    formats = [format_.value for format_ in MetricsFormat]
    if at.format not in formats:  # 45
        message = f"{_shown(at.format)}: must be {' or '.join(formats)}"
        yield Problem(field=f"{_PATH}.format", message=message)
    elif at.format == MetricsFormat.JSON and source.filter is not None:  # 45
        message = "filter must be nil when format of metrics file is json"
        yield Problem(field=_FILTER, message=message)


def _event_problems(at: FileSystemPath) -> Iterator[Problem]:
    what = "directory path where tensorflow event files exist is required"
    yield from _path_problems(at, PathKind.DIRECTORY, what)
    if at.format:  # 46
        yield Problem(field=f"{_PATH}.format", message=f"{at.format:.60}: must be empty")


def _path_problems(at: FileSystemPath, kind: PathKind, what: str) -> Iterator[Problem]:
    """45, 46."""
    if at.kind != kind:
        yield Problem(field=f"{_PATH}.kind", message=f"{_shown(at.kind)}: must be {kind.value}")
    yield from _absolute(at, f"{what}: ")


def _absolute(at: FileSystemPath, what: str = "") -> Iterator[Problem]:
    path = at.path or ""
    if not path.startswith("/"):
        message = f"{_shown(path)}: {what}must be an absolute path"
        yield Problem(field=f"{_PATH}.path", message=message)
    elif "\0" in path or ".." in path.split("/"):
        yield Problem(field=f"{_PATH}.path", message=f"{_shown(path)}: must not leave its folder")


def _endpoint_problems(get: HttpGet) -> Iterator[Problem]:
    port = _port(get)
    if not 0 < port <= _MAX_PORT:  # 47
        message = (
            f"{_shown(str(get.port))}: must be a positive integer value for metrics port, at most "
            f"{_MAX_PORT}"
        )
        yield Problem(field=f"{_GET}.port", message=message)
    if not (get.path or "").startswith("/"):  # 47
        message = f"{_shown(get.path)}: must start with /, the path of the metrics endpoint"
        yield Problem(field=f"{_GET}.path", message=message)
    if (get.scheme or _SCHEMES[0]) not in _SCHEMES:
        message = f"{_shown(get.scheme)}: must be {' or '.join(_SCHEMES)}"
        yield Problem(field=f"{_GET}.scheme", message=message)
    for i, header in enumerate(get.http_headers or ()):
        where = f"{_GET}.httpHeaders[{i}]"
        if not _HEADER_NAME.fullmatch(header.name or ""):
            message = f"{_shown(header.name)}: no name of a header"
            yield Problem(field=f"{where}.name", message=message)
        if not _HEADER_VALUE.fullmatch(header.value or ""):
            message = "must be one line of ASCII text"
            yield Problem(field=f"{where}.value", message=message)


def one_machine_problems(
    collector: kernel.MetricsCollectorSpec, template: kernel.TrialTemplate | None, parallel: int
) -> Iterator[Problem]:
    """Trials of one machine share its ports, so each has to be told its own; a container is a
    process there."""
    if collector.kind is CollectorKind.CUSTOM:
        yield from _process_problems(collector.container or {})
    if collector.kind is not CollectorKind.PROMETHEUS_METRIC or parallel <= 1:
        return
    told = template is not None and mentions(template.trial_spec, METRICS_PORT_VARIABLE)
    if not told:
        port = collector.endpoint.port if collector.endpoint is not None else 0
        message = (
            f"{parallel}: must be 1, because on one machine all trials would answer at port "
            f"{port}; or let the command take its port from $({METRICS_PORT_VARIABLE})"
        )
        yield Problem(field="spec.parallelTrialCount", message=message)


def _process_problems(container: Mapping[str, Json]) -> Iterator[Problem]:
    """What one machine cannot do of a container, as of one in a Job."""
    pod = {"spec": {"containers": [container]}}
    job = kernel.TrialTemplate(
        trial_spec={"spec": {"template": pod}},
        primary_container=str(container.get("name", "")),
    )
    try:
        read_job(job)
    except Refused as refused:
        for problem in refused.problems:
            field = problem.field.replace(_ONLY_CONTAINER, _CUSTOM)
            yield Problem(field=field, message=problem.message)


def _port(get: HttpGet) -> int:
    """Katib takes a number in quotes, too; 0: it is none."""
    if isinstance(get.port, str):
        return int(get.port) if _PORT.fullmatch(get.port) else 0
    return get.port or 0


def _custom_problems(
    at: FileSystemPath | None, container: Mapping[str, Json] | None
) -> Iterator[Problem]:
    """48."""
    if container is None:
        yield Problem(field=_CUSTOM, message="must be specified for the collector kind Custom")
    else:
        for suffix, message in container_problems(container):
            yield Problem(field=f"{_CUSTOM}{suffix}", message=message)
        if not container.get("command") and not container.get("image"):
            yield Problem(field=_CUSTOM, message="needs an image or a command")
    if at is None:
        return
    yield from _absolute(at)
    kinds = [kind.value for kind in PathKind]
    if at.kind not in kinds:
        message = f"{_shown(at.kind)}: must be {' or '.join(kinds)}"
        yield Problem(field=f"{_PATH}.kind", message=message)


def _formats(source: SourceSpec) -> Sequence[str]:
    return source.filter.metrics_format or () if source.filter is not None else ()


def _filter_problems(formats: Sequence[str]) -> Iterator[Problem]:
    where = f"{_FILTER}.metricsFormat"
    if len(formats) > MAX_METRIC_FORMATS:
        yield Problem(field=where, message=f"at most {MAX_METRIC_FORMATS} filters are allowed")
        return
    nested = [i for i, text in enumerate(formats) if text.count("(") > MAX_FORMAT_GROUPS]
    if nested:
        for i in nested:
            message = f"invalid filter: at most {MAX_FORMAT_GROUPS} groups are allowed"
            yield Problem(field=f"{where}[{i}]", message=message)
        return
    try:
        MetricFilter.compile(formats)
    except Refused as exc:  # 49
        for problem in exc.problems:
            message = f"invalid filter: {problem.message}"
            yield Problem(field=f"{_FILTER}.{problem.field}", message=message)


def kernel_collector(spec: MetricsCollectorSpec | None) -> kernel.MetricsCollectorSpec:
    """Of a specification that keeps the rules."""
    spec = spec or MetricsCollectorSpec()
    source, collector = spec.source or SourceSpec(), spec.collector or CollectorSpec()
    kind = CollectorKind(collector.kind or CollectorKind.STDOUT)
    at = source.file_system_path if kind in _HAS_PATH else None
    scraped = source.http_get if kind is CollectorKind.PROMETHEUS_METRIC else None
    return kernel.MetricsCollectorSpec(
        kind=kind,
        filters=tuple(_formats(source)) if kind in _READS_LINES else (),
        path=None if at is None else _kernel_path(at),
        endpoint=None if scraped is None else _kernel_endpoint(scraped),
        container=collector.custom_collector if kind is CollectorKind.CUSTOM else None,
    )


def _kernel_path(at: FileSystemPath) -> kernel.MetricsPath:
    """The format means something for a File alone; elsewhere anything may stand there."""
    json = at.format == MetricsFormat.JSON
    return kernel.MetricsPath(
        path=at.path or "",
        kind=PathKind(at.kind or PathKind.FILE),
        format=MetricsFormat.JSON if json else MetricsFormat.TEXT,
    )


def _kernel_endpoint(get: HttpGet) -> kernel.MetricsEndpoint:
    return kernel.MetricsEndpoint(
        port=_port(get),
        path=get.path or "",
        host=get.host or "",
        scheme=get.scheme or _SCHEMES[0],
        headers=tuple((header.name or "", header.value or "") for header in get.http_headers or ()),
    )


def _shown(text: str | None) -> str:
    return '""' if not text else f"{text:.60}"
