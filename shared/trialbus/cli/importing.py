"""`trialbus import`: trials of a file become an experiment that has ended."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

from trialbus.cli.api import Api, experiment_path, path_of
from trialbus.cli.choices import FileFormat
from trialbus.cli.failures import REFUSED, CommandFailed
from trialbus.cli.imported_space import Scan
from trialbus.cli.reading import ExperimentFile
from trialbus.cli.trial_files import METRICS, Row, format_of, reading
from trialbus.cli.watching import patiently
from trialbus.contracts.katib.annotations import WARM_START_FROM
from trialbus.kernel.limits import MAX_IMPORTED_TRIALS, MAX_PAYLOAD_BYTES

Object = dict[str, Any]
# Of a portion as JSON: a command takes more than its data.
PORTION_BYTES = MAX_PAYLOAD_BYTES // 2
_ENDED = frozenset({"Succeeded", "Failed", "Killed", "EarlyStopped", "MetricsUnavailable"})
_OWN = ("index", "trial", "state", "attempt", "startTime", "completionTime", "durationSeconds",
        "value", "message")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the file is to become. objective, minimize: None where `like` says them. like: an
    Experiment whose objective and parameters count."""

    name: str
    namespace: str
    objective: str | None = None
    minimize: bool | None = None
    like: Object | None = None


@dataclass(slots=True)
class Imported:
    """How many trials came, and how many rows were left out because they had not ended."""

    namespace: str
    name: str
    trials: int = 0
    open: int = 0


def import_file(api: Api, file: str, wanted: Wanted, form: FileFormat | None) -> Imported:
    """Repeatable: what is there already is compared, and what is missing is added. Raises
    CommandFailed with every problem."""
    chosen = format_of(file, form)
    experiment, scan = _experiment(file, chosen, wanted)
    path = experiment_path(wanted.namespace, wanted.name)
    answer = patiently(lambda: api.call("PUT", path, {"object": experiment}))
    done = Imported(wanted.namespace, wanted.name)
    with reading(file, chosen) as rows:
        for portion in portions(_trials(rows, scan, done), last=True):
            tell_portion(api, wanted.namespace, wanted.name, str(answer["uid"]), portion)
            done.trials += len(portion["trials"])
    return done


def warmed_by(api: Api, experiment: ExperimentFile, file: str) -> tuple[ExperimentFile, str]:
    """The experiment as one that begins with the file's trials, which are imported under a name of
    their own first; and what was done."""
    name = f"{experiment.name}-warm"
    wanted = Wanted(name=name, namespace=experiment.namespace, like=experiment.document)
    done = import_file(api, file, wanted, None)
    metadata = dict(experiment.document["metadata"])
    annotations = {**(metadata.get("annotations") or {}), WARM_START_FROM: name}
    document = {**experiment.document, "metadata": {**metadata, "annotations": annotations}}
    return replace(experiment, document=document), told(done)


def told(done: Imported) -> str:
    left_out = f"; {done.open} rows of trials that had not ended are left out" if done.open else ""
    return f"{done.namespace}/{done.name}: {done.trials} trials are there{left_out}"


def _experiment(file: str, form: FileFormat, wanted: Wanted) -> tuple[Object, Scan]:
    """From a first look at the whole file."""
    like = None if wanted.like is None else wanted.like["spec"]
    objective = like["objective"] if like is not None else _objective(wanted)
    scan = Scan(objective=objective["objectiveMetricName"], own=_OWN)
    with reading(file, form) as rows:
        for number, row in enumerate(rows, start=1):
            scan.look(row, f"{file}: row {number}")
    metric = objective["objectiveMetricName"]
    if not scan.rows:
        raise CommandFailed(f"{file} has no trials", REFUSED)
    if scan.metrics and metric not in (*scan.metrics, *scan.columns):
        known = ", ".join(scan.metrics)
        raise CommandFailed([f"{file}: no metric is {metric}", f"its metrics: {known}"], REFUSED)
    if not scan.values:
        raise CommandFailed(
            [f"{file}: no row has a value of {metric}", f"its columns: {', '.join(scan.columns)}"],
            REFUSED,
        )
    if like is not None:
        return _object(wanted, objective, like.get("parameters")), scan
    return _object(wanted, dict(scan.judged(objective)), scan.parameters()), scan


def _objective(wanted: Wanted) -> Object:
    if wanted.objective is None or wanted.minimize is None:
        message = (
            "say what was tuned: --objective NAME with --minimize or --maximize, or --like FILE"
        )
        raise CommandFailed(message, REFUSED)
    kind = "minimize" if wanted.minimize else "maximize"
    return {"type": kind, "objectiveMetricName": wanted.objective}


def _object(wanted: Wanted, objective: Object, parameters: Any) -> Object:
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {
            "name": wanted.name,
            "namespace": wanted.namespace,
            "annotations": {"trialbus.io/trials-by": "import"},
        },
        "spec": {
            "objective": objective,
            "algorithm": {"algorithmName": "random"},
            "parallelTrialCount": 1,
            "parameters": parameters,
        },
    }


def _trials(rows: Iterator[Row], scan: Scan, done: Imported) -> Iterator[Object]:
    for row in rows:
        if row.get("state") not in (None, *_ENDED):
            done.open += 1
            continue
        yield _trial(row, scan)


def _trial(row: Row, scan: Scan) -> Object:
    metrics: dict[str, Any] = {}
    for name, value in row.items():
        if name.startswith(METRICS) and value is not None:
            metric, _, part = name.removeprefix(METRICS).rpartition(".")
            metrics.setdefault(metric, {})[part] = value
    metrics = {name: parts for name, parts in metrics.items() if "latest" in parts}
    if not scan.metrics_fit:
        metrics.pop(scan.objective, None)
    told = {
        "parameters": scan.point(row),
        "value": None if scan.objective in metrics else scan.value(row),
        "metrics": metrics or None,
        **{name: row.get(name) for name in ("state", "attempt", "startTime", "completionTime")},
        "message": row.get("message"),
    }
    return {name: value for name, value in told.items() if value is not None}


def portions(trials: Iterator[Object], *, last: bool) -> Iterator[Object]:
    """Cut by number and size, the same way every time; only the last may be empty. last: whether
    nothing follows it."""
    first, held, size = 0, list[Object](), 0
    for trial in trials:
        length = len(json.dumps(trial)) + 2
        if held and (len(held) == MAX_IMPORTED_TRIALS or size + length > PORTION_BYTES):
            yield {"first": first, "trials": held}
            first, held, size = first + len(held), [], 0
        held.append(trial)
        size += length
    yield {"first": first, "trials": held, **({"last": True} if last else {})}


def tell_portion(api: Api, namespace: str, name: str, uid: str, portion: Mapping[str, Any]) -> None:
    """As an event whose id is its content's: what is repeated is known, what differs is seen."""
    digest = blake2b(json.dumps(portion, sort_keys=True).encode(), digest_size=16).hexdigest()
    event = {
        "specversion": "1.0",
        "id": f"{uid}-{digest}",
        "source": "/trialbus/cli/import",
        "type": "io.trialbus.experiment.import.v1",
        "subject": f"{namespace}/{name}",
        "experimentuid": uid,
        "data": portion,
    }
    patiently(lambda: api.call("POST", path_of("events"), event))
