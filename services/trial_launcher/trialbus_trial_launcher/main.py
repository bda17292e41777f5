"""Composition root of the trial launcher."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from trialbus.contracts import subjects
from trialbus.contracts.collections import RUNS
from trialbus.contracts.trial_tokens import trial_token
from trialbus.contracts.work import WorkVerb
from trialbus.kernel.access import TrialGrant
from trialbus.kernel.events import heard_by
from trialbus.ports.bus import Responder
from trialbus.ports.cluster import ClusterApi
from trialbus.ports.launcher import Launcher
from trialbus.runtime.call_metrics import ClusterRequests
from trialbus.runtime.checkpoints import artifact_root, checkpoint_root
from trialbus.runtime.parts import Behaviour, Parts, Reactor, Served, ServiceDefinition
from trialbus.runtime.settings import Settings
from trialbus.runtime.templates import default_template, interpreter, local_images
from trialbus.runtime.trial_keys import trial_keys
from trialbus_trial_launcher.adapters.gateway_address import gateway_grpc, gateway_http
from trialbus_trial_launcher.adapters.local_process import (
    FreePorts,
    LocalProcessLauncher,
    boot_id,
)
from trialbus_trial_launcher.adapters.local_process.space import space_of
from trialbus_trial_launcher.adapters.scraper import Scraper
from trialbus_trial_launcher.app.cluster.checking import Checking
from trialbus_trial_launcher.app.cluster.place import ClusterPlace
from trialbus_trial_launcher.app.cluster.ways import Standing, check_ways, ways_of
from trialbus_trial_launcher.app.folder_space import FolderSpace
from trialbus_trial_launcher.app.following import Following
from trialbus_trial_launcher.app.hand import Hand
from trialbus_trial_launcher.app.judging import Judging
from trialbus_trial_launcher.app.launching import Launching
from trialbus_trial_launcher.app.leasing.leasing import Leasing
from trialbus_trial_launcher.app.logs import Logs
from trialbus_trial_launcher.app.places import OnMachine, RunPlace
from trialbus_trial_launcher.app.plans import Place
from trialbus_trial_launcher.app.pruning import Pruning
from trialbus_trial_launcher.app.recording import Recording
from trialbus_trial_launcher.app.shipping.attempts import Attempts
from trialbus_trial_launcher.app.shipping.claiming import Claiming
from trialbus_trial_launcher.app.shipping.receiving import Receiving
from trialbus_trial_launcher.app.sources.means import Means

# Results of workers that take turns are one commit, which costs each less than this.
_GATHER_S = 0.004


async def build(parts: Parts) -> Behaviour:
    if parts.settings.place == "kubernetes":
        return await build_on_cluster(parts)
    settings, folder = parts.settings, _runs_folder(parts)
    folder.mkdir(parents=True, exist_ok=True)
    hand = Hand(parts, "process")
    launcher = LocalProcessLauncher(folder, images=local_images(parts.settings), observer=hand)
    scraper = Scraper()
    means = Means(
        get=scraper.get,
        free_port=FreePorts().take,
        grpc_address=partial(gateway_grpc, settings.data_dir, settings.trial_gateway_grpc),
        http_address=partial(gateway_http, settings.data_dir, settings.trial_gateway_url),
        token=_tokens(settings),
    )
    composed = compose(
        parts, launcher, host=_host_of(folder), boot=boot_id(), means=means, hand=hand
    )
    space = FolderSpace(parts, _folders(settings), space_of)

    async def close() -> None:
        await composed.close()
        await scraper.close()

    return replace(composed, tasks=(*composed.tasks, space.run), close=close)


def _folders(settings: Settings) -> dict[str, str]:
    """What fills this machine's disks, by the label of the metric. The first has all that the stack
    keeps: outputs and logs, and the servers' data where it started them."""
    return {
        "data": str(settings.data_dir.absolute()),
        "checkpoints": checkpoint_root(settings),
        "artifacts": artifact_root(settings),
    }


async def build_on_cluster(parts: Parts, api: ClusterApi | None = None) -> Behaviour:
    """api: None: as the settings say."""
    # Loaded only where it is needed: its client is large.
    kubernetes: Any = import_module("trialbus_trial_launcher.adapters.kubernetes")
    settings, scraper, log = parts.settings, Scraper(), parts.telemetry.log
    means = Means(
        get=scraper.get,
        grpc_address=partial(gateway_grpc, settings.data_dir, settings.trial_gateway_grpc),
        http_address=partial(gateway_http, settings.data_dir, settings.trial_gateway_url),
        token=_tokens(settings),
    )
    observer = ClusterRequests(parts.telemetry)
    api = api or await kubernetes.open_cluster(settings, observer=observer)
    ours: dict[str, Any] = {
        "instance": settings.kubernetes_instance,
        "namespaces": kubernetes.namespaces_of(settings.kubernetes_namespaces),
    }
    hand = Hand(parts, "cluster")
    outside = parts.telemetry.tracing.outside
    launcher: Launcher = kubernetes.ClusterLauncher(
        api, parts.clock, log, observer=hand, outside=outside, **ours
    )
    place = ClusterPlace(ways=ways_of(settings), means=means, launcher=launcher, parts=parts)
    standing = Standing(parts.store)
    leftovers = kubernetes.Leftovers(
        api, parts.clock, log, kinds=standing.kinds, ended=standing.ended, **ours
    )
    checking = Checking(api, place, parts.clock, ours["namespaces"])
    composed = compose_at(
        parts,
        launcher,
        place,
        checkpoint_root=checkpoint_root(settings),
        hand=hand,
        lives=True,
        logs=Logs(kubernetes.PodLogs(launcher, parts.clock)).respond,
        more=Behaviour(tasks=(leftovers.run,), served=(_checked(checking),)),
    )

    async def close() -> None:
        await composed.close()
        await scraper.close()

    return replace(composed, close=close)


def _checked(checking: Checking) -> Served:
    return Served(
        subject=subjects.checks(), queue="trial_launcher", respond=checking.respond, max_groups=4
    )


def compose(
    parts: Parts,
    launcher: Launcher,
    *,
    host: str,
    boot: str,
    means: Means | None = None,
    hand: Hand | None = None,
) -> Behaviour:
    """The service over any place where runs execute. hand: that the launcher tells."""
    place = Place(
        host=host,
        boot_id=boot,
        runs_folder=str(_runs_folder(parts)),
        checkpoint_root=checkpoint_root(parts.settings),
        artifact_root=artifact_root(parts.settings),
        interpreter=interpreter(parts.settings),
        default_template=default_template(parts.settings),
        images=local_images(parts.settings),
    )
    here = OnMachine(place=place, means=means or Means(), launcher=launcher, parts=parts)
    return compose_at(
        parts,
        launcher,
        here,
        checkpoint_root=place.checkpoint_root,
        hand=hand or Hand(parts, "process"),
    )


def compose_at(
    parts: Parts,
    launcher: Launcher,
    place: RunPlace,
    *,
    checkpoint_root: str,
    hand: Hand,
    lives: bool = False,
    logs: Responder | None = None,
    more: Behaviour = Behaviour(),  # noqa: B008 - it is frozen
) -> Behaviour:
    """lives: runs are living objects of a cluster. logs: answers for outputs. checkpoint_root:
    that workers are told. more: what only this place serves and does."""
    recording = Recording(parts, hand)
    judging = Judging(parts.store, launcher, lives=lives)
    following = Following(
        parts,
        launcher,
        recording.add,
        judging.judge,
        recording.note,
        incomplete=hand.incomplete,
    )

    def committed(run_id: str) -> None:
        following.forget(run_id)
        judging.ended(run_id)
        pruning.ended(run_id)

    recording.committed = committed
    pruning = Pruning(parts, launcher, place)
    leasing = Leasing(parts, checkpoint_root)
    launching = Launching(parts, launcher, following, place, leasing, pruning, hand)

    async def close() -> None:
        await following.close()
        await launcher.close()

    return Behaviour(
        reactor=Reactor(
            listens=heard_by("trial_launcher"), react=launching.react, sweep=launching.sweep
        ),
        served=(
            _served_logs(place, logs or Logs(launcher).respond),
            *_served_to_workers(leasing),
            *more.served,
            *_served_to_pods(parts),
        ),
        tasks=(
            following.watch_ends,
            following.survey,
            following.ship_live,
            recording.run,
            judging.tidy,
            pruning.run,
            *leasing.tasks,
            *more.tasks,
        ),
        close=close,
        host=place.host,
    )


def _served_logs(place: RunPlace, respond: Responder) -> Served:
    return Served(subject=subjects.log(place.host), queue="trial_launcher", respond=respond)


def _served_to_workers(leasing: Leasing) -> list[Served]:
    """Two workers that take turns must not wait for each other, so several groups are in hand."""
    return [
        Served(
            subject=subjects.commands(verb.value),
            queue="trial_launcher",
            respond=leasing.respond,
            max_groups=4,
            gather_s=_GATHER_S if verb is WorkVerb.TELL else 0.0,
        )
        for verb in WorkVerb
    ]


def _served_to_pods(parts: Parts) -> list[Served]:
    """Pieces of output are large, so their groups are small; several are in hand, because each
    waits for the collector."""
    attempts = Attempts(parts)
    claiming, receiving = Claiming(parts, attempts), Receiving(parts, attempts)
    return [
        Served(subject=subjects.claims(), queue="trial_launcher", respond=claiming.respond),
        Served(
            subject=subjects.outputs(),
            queue="trial_launcher",
            respond=receiving.respond,
            max_group=32,
            max_groups=4,
        ),
    ]


def _tokens(settings: Settings) -> Callable[[TrialGrant], str | None]:
    """A key that was given says that the gateway asks; so a launcher need not know whom else it
    believes. Raises TrialKeysMissing."""
    if not settings.authenticates and not settings.trial_key_file:
        return lambda _: None
    [key, *_] = trial_keys(settings)
    return lambda grant: trial_token(grant, key)


def _runs_folder(parts: Parts) -> Path:
    return parts.settings.data_dir.absolute() / "runs"


def _host_of(folder: Path) -> str:
    """The identity of this folder's runs: made once, then read back."""
    path = folder / "host-id"
    if not path.exists():
        made = path.with_suffix(".new")
        made.write_text(uuid.uuid4().hex[:12])
        made.rename(path)
    return path.read_text().strip()


service = ServiceDefinition(name="trial_launcher", owns=(RUNS,), build=build, check=check_ways)
