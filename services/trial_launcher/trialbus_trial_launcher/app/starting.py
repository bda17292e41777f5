"""All that starts for one trial: its command and, for some collectors, a process beside it."""

from collections.abc import Mapping
from dataclasses import replace

from trialbus.kernel.access import TrialGrant
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import collector_run_id
from trialbus.kernel.metric_lines import DEFAULT_METRIC_FORMAT
from trialbus.kernel.reporting import REPORT_VARIABLE, ReportTo
from trialbus.kernel.spec import (
    CollectorKind,
    MetricsCollectorSpec,
    MetricsFormat,
    TrialTemplate,
)
from trialbus.kernel.templates import TrialIdentity, render_command
from trialbus.kernel.trial import Trial
from trialbus.ports.launcher import RunPlan
from trialbus_trial_launcher.app.plans import Place, plan_of
from trialbus_trial_launcher.app.run_spans import trace_variables
from trialbus_trial_launcher.app.sources.means import Means
from trialbus_trial_launcher.app.sources.scraping import PORT_FILE, PORT_VARIABLE

# Where the gateway takes what Katib's collectors and `report_metrics` say.
GRPC_VARIABLE = "TRIALBUS_GRPC_ADDRESS"
# What `import trialbus` reads in a trial.
URL_VARIABLE, TOKEN_VARIABLE = "TRIALBUS_URL", "TRIALBUS_TOKEN"
_POD_FIELD = "spec.trialTemplate.trialSpec.spec.template.spec.containers[0]"
_CONTAINER_FIELD = "spec.metricsCollectorSpec.collector.customCollector"


def plans_of(
    state: Experiment, trial: Trial, attempt: int, place: Place, means: Means
) -> tuple[RunPlan, ...]:
    """Raises Refused when the trial's values do not fit its template."""
    variables = reporting(means)
    variables[REPORT_VARIABLE] = report_to(state.spec.metrics_collector).value
    variables |= trace_variables(state, trial.index, attempt)
    files: dict[str, str] = {}
    kind = state.spec.metrics_collector.kind
    if kind is CollectorKind.PROMETHEUS_METRIC and (port := means.free_port()) is not None:
        variables[PORT_VARIABLE] = files[PORT_FILE] = str(port)
    plan = plan_of(state, trial, attempt, place, variables=variables)
    plan = replace(plan, files={**plan.files, **files})
    plans = [plan]
    if kind is CollectorKind.CUSTOM:
        plans.append(_collector_plan(state, trial, attempt, place, plan.run_id, variables))
    # No variable that a template can put into the words of a command, where others could read it.
    secrets = secrets_of(state, trial, attempt, means)
    return tuple(replace(each, env={**each.env, **secrets}) for each in plans)


def secrets_of(state: Experiment, trial: Trial, attempt: int, means: Means) -> dict[str, str]:
    """The token by which an attempt shows who it is, as a variable."""
    grant = TrialGrant(
        namespace=state.namespace,
        experiment=state.name,
        uid=state.id,
        trial=trial.name,
        index=trial.index,
        attempt=attempt,
    )
    token = means.token(grant)
    return {} if token is None else {TOKEN_VARIABLE: token}


def report_to(collector: MetricsCollectorSpec) -> ReportTo:
    """Where the collector hears a program that knows no more of it. A filter of the user's own may
    not find what we would write."""
    by_default = set(collector.filters) <= {DEFAULT_METRIC_FORMAT}
    if collector.kind is CollectorKind.STDOUT and by_default:
        return ReportTo.STDOUT
    if collector.kind is CollectorKind.FILE and collector.path is not None:
        if collector.path.format is MetricsFormat.JSON:
            return ReportTo.JSON
        if by_default:
            return ReportTo.TEXT
    return ReportTo.PUSH


def reporting(means: Means) -> dict[str, str]:
    """Where trials reach the gateway, as variables."""
    url, address = means.http_address(), means.grpc_address()
    told = {} if url is None else {URL_VARIABLE: url}
    if address is None:
        return told
    host, _, port = address.rpartition(":")
    return {
        **told,
        GRPC_VARIABLE: address,
        # As a service of Katib's is told on Kubernetes.
        "KATIB_DB_MANAGER_SERVICE_IP": host,
        "KATIB_DB_MANAGER_SERVICE_PORT": port,
    }


def _collector_plan(
    state: Experiment,
    trial: Trial,
    attempt: int,
    place: Place,
    run: str,
    variables: Mapping[str, str],
) -> RunPlan:
    """The user's container as a process: what a Job of it alone would be."""
    collector = state.spec.metrics_collector
    container = collector.container or {}
    template = TrialTemplate(
        trial_spec={
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {"template": {"spec": {"containers": [container]}}},
        },
        primary_container=str(container.get("name", "")),
    )
    identity = TrialIdentity(
        namespace=state.namespace, experiment=state.name, name=trial.name, attempt=attempt
    )
    try:
        rendered = render_command(
            template,
            identity,
            (),
            interpreter=place.interpreter,
            working_dir=state.spec.working_dir,
            images=place.images,
            metrics=place.metrics_file(collector, run),
            variables=variables,
        )
    except Refused as refused:
        raise Refused([_of_the_container(problem) for problem in refused.problems]) from refused
    return RunPlan(
        run_id=collector_run_id(run),
        command=rendered.command,
        env=rendered.env,
        working_dir=rendered.working_dir,
        search_path=rendered.search_path,
        image=rendered.image,
    )


def _of_the_container(problem: Problem) -> Problem:
    return replace(problem, field=problem.field.replace(_POD_FIELD, _CONTAINER_FIELD))
