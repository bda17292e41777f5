"""From a trial to the object of a cluster that runs it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from trialbus.contracts import shipping
from trialbus.kernel.checkpoints import (
    FOLDER_SETTING,
    HEIRS_VARIABLE,
    Checkpoint,
    checkpoint_of,
    checkpoints_of,
)
from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import RunKey
from trialbus.kernel.reporting import METRICS_PATH_VARIABLE, REPORT_VARIABLE
from trialbus.kernel.run import Run
from trialbus.kernel.spec import CollectorKind, TrialTemplate
from trialbus.kernel.templates import (
    METRICS_PORT_VARIABLE,
    TrialIdentity,
    render_object,
    trial_variables,
)
from trialbus.kernel.trial import Trial
from trialbus.ports.launcher import Launcher, ObjectPlan, Plan, RunState, RunStatus
from trialbus.runtime.parts import Parts
from trialbus_trial_launcher.app.cluster.default_template import default_template
from trialbus_trial_launcher.app.cluster.objects import Mounted, ObjectMeans, RunObject, run_object
from trialbus_trial_launcher.app.run_spans import trace_variables
from trialbus_trial_launcher.app.sources.custom import PushSource
from trialbus_trial_launcher.app.sources.means import Means
from trialbus_trial_launcher.app.sources.pods import (
    PodCollectorSource,
    PodOutputSource,
    PodScrapeSource,
    ShippedSource,
)
from trialbus_trial_launcher.app.sources.source import Source, Watched
from trialbus_trial_launcher.app.starting import report_to, reporting, secrets_of
from trialbus_trial_launcher.core.kept import has_no_heirs

# Where pods see the claim with the folders of their experiment.
CHECKPOINTS_AT = "/var/lib/trialbus/checkpoints"
_ARTIFACTS_AT = f"{CHECKPOINTS_AT}/artifacts"
_COLLECTOR_FIELD = "spec.metricsCollectorSpec.collector.kind"
_READS_FILES = frozenset({CollectorKind.FILE, CollectorKind.TENSORFLOW_EVENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterWays:
    """What the settings say of runs on the cluster. checkpoint_root, artifact_root: URIs, or "".
    claim: with checkpoints, where there is no URI; "": trials keep none. default_image: of trials
    without a template; "": they are refused."""

    instance: str
    wrapper_image: str = ""
    default_image: str = ""
    restricted: bool = False
    checkpoint_root: str = ""
    artifact_root: str = ""
    claim: str = ""
    grace_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlace:
    """All launchers of one installation are one host."""

    ways: ClusterWays
    means: Means
    launcher: Launcher
    parts: Parts
    is_told: bool = True
    boot_id: str = ""
    artifact_root: str = ""

    @property
    def host(self) -> str:
        return host_of(self.ways.instance)

    def roots(self) -> tuple[str, ...]:
        return ()

    def plans(self, state: Experiment, trial: Trial, run: Run) -> Sequence[Plan]:
        template = self._template(state)
        made = self.object_of(state, trial, run.attempt)
        kind = state.spec.metrics_collector.kind
        return (
            ObjectPlan(
                run_id=run.id,
                body=made.body,
                created_at=run.created_at,
                success=template.success_condition,
                failure=template.failure_condition,
                container=template.primary_container,
                pod_labels=template.primary_pod_labels,
                pods_by=made.pods_by,
                shipped=made.wrapped,
                claimed=bool(run.holder),
                follows=kind is CollectorKind.STDOUT and not made.wrapped,
                retain=template.retain,
            ),
        )

    def object_of(self, state: Experiment, trial: Trial, attempt: int) -> RunObject:
        """Raises Refused."""
        template, collector = self._template(state), state.spec.metrics_collector
        identity = TrialIdentity(
            namespace=state.namespace, experiment=state.name, name=trial.name, attempt=attempt
        )
        rendered = render_object(template, identity, trial.assignments)
        checkpoint = self._checkpoint(state, trial)
        made = run_object(
            rendered,
            identity,
            RunKey(state.id, trial.index, attempt),
            template.primary_container,
            collector,
            self._means(state, trial, identity, checkpoint),
            retain=template.retain,
        )
        if not made.wrapped:
            _check_unwrapped(state, checkpoint)
        return made

    def source(self, state: Experiment, run: Run, plans: Sequence[Plan]) -> Source:
        collector = state.spec.metrics_collector
        watched = Watched(
            launcher=self.launcher,
            run_id=run.id,
            objective=state.spec.objective,
            collector=collector,
        )
        shipped = any(isinstance(plan, ObjectPlan) and plan.shipped for plan in plans)
        if collector.kind is CollectorKind.PROMETHEUS_METRIC and collector.endpoint is not None:
            return PodScrapeSource(watched, run, collector.endpoint, self.means.get, self.parts)
        if collector.kind is CollectorKind.CUSTOM:
            return PodCollectorSource(watched)
        if collector.kind is CollectorKind.PUSH:
            return PushSource(watched)
        return ShippedSource(watched) if shipped else PodOutputSource(watched)

    def starts_again(
        self,
        state: Experiment,  # noqa: ARG002
        run: Run,
        status: RunStatus,
        plans: Sequence[Plan],
    ) -> bool:
        """Only where a claim keeps the command from running twice, and nobody has claimed it."""
        shipped = all(isinstance(plan, ObjectPlan) and plan.shipped for plan in plans)
        return status.state is RunState.ABSENT and shipped and not run.holder

    def _template(self, state: Experiment) -> TrialTemplate:
        """Raises Refused."""
        if state.spec.template is not None:
            return state.spec.template
        if not self.ways.default_image:
            message = "must be given: there is no TRIALBUS_DEFAULT_TRIAL_IMAGE"
            raise Refused([Problem(field="spec.trialTemplate", message=message)])
        return default_template(state.spec, self.ways.default_image)

    def _means(
        self,
        state: Experiment,
        trial: Trial,
        identity: TrialIdentity,
        checkpoint: Checkpoint | None,
    ) -> ObjectMeans:
        ways, collector = self.ways, state.spec.metrics_collector
        values = {assignment.name: assignment.value for assignment in trial.assignments}
        variables = {
            **trial_variables(identity, values),
            **reporting(self.means),
            **trace_variables(state, trial.index, identity.attempt),
            REPORT_VARIABLE: report_to(collector).value,
            HEIRS_VARIABLE: "no" if has_no_heirs(state) else "perhaps",
            **(checkpoint.variables() if checkpoint is not None else {}),
            **secrets_of(state, trial, identity.attempt, self.means),
        }
        if collector.path is not None:
            variables[METRICS_PATH_VARIABLE] = collector.path.path
        if collector.endpoint is not None:
            variables[METRICS_PORT_VARIABLE] = str(collector.endpoint.port)
        wrapper = {
            shipping.TRIAL_VARIABLE: trial.name,
            shipping.ATTEMPT_VARIABLE: str(identity.attempt),
            shipping.GRACE_VARIABLE: f"{ways.grace_s:g}",
        }
        if checkpoint is not None and checkpoint.inherited:
            wrapper[shipping.COPY_VARIABLE] = checkpoint.inherited
        return ObjectMeans(
            instance=ways.instance,
            variables=variables,
            wrapper=wrapper,
            wrapper_image=ways.wrapper_image,
            restricted=ways.restricted,
            paths={} if checkpoint is None else checkpoint.paths(),
            mounted=self._mounted(state),
        )

    def _checkpoint(self, state: Experiment, trial: Trial) -> Checkpoint | None:
        """None: trials keep none."""
        ways, algorithm = self.ways, state.spec.algorithm
        if ways.checkpoint_root:
            found = checkpoint_of(
                ways.checkpoint_root, state.id, trial.index, trial.parent, algorithm
            )
        elif ways.claim:
            found = Checkpoint(
                own=f"{CHECKPOINTS_AT}/{trial.index}",
                parent="" if trial.parent is None else f"{CHECKPOINTS_AT}/{trial.parent}",
                inside=(algorithm.setting(FOLDER_SETTING) or "").rstrip("/"),
            )
        else:
            return None
        if ways.artifact_root:
            artifacts = f"{checkpoints_of(ways.artifact_root, state.id)}/{trial.index}"
            return replace(found, artifacts=artifacts)
        return replace(found, artifacts=f"{_ARTIFACTS_AT}/{trial.index}" if ways.claim else "")

    def _mounted(self, state: Experiment) -> Mounted | None:
        if not self.ways.claim:
            return None
        return Mounted(claim=self.ways.claim, folder=state.id, at=CHECKPOINTS_AT)


def host_of(instance: str) -> str:
    return f"cluster:{instance}"


def _check_unwrapped(state: Experiment, checkpoint: Checkpoint | None) -> None:
    """What nobody outside of the pod can do."""
    kind = state.spec.metrics_collector.kind
    why = (
        "the wrapper: the setting wrapper_image, and a Job with one pod whose primary container "
        "has its command written"
    )
    if kind in _READS_FILES:
        message = f"{kind.value} on a cluster needs {why}"
        raise Refused([Problem(field=_COLLECTOR_FIELD, message=message)])
    if checkpoint is not None and not checkpoint.is_uri and checkpoint.inside:
        message = f"checkpoints that trials inherit need {why}"
        raise Refused([Problem(field="spec.algorithm.algorithmSettings", message=message)])
