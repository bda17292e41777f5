"""The trials of a deleted experiment, as they were last."""

import asyncio
from collections.abc import AsyncIterator

from trialbus.contracts.collections import TRIALS
from trialbus.contracts.documents import TRIAL
from trialbus.contracts.katib.views import trial_view
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.ids import trial_id, trial_name
from trialbus.ports.store import Query, Store
from trialbus_gateway.core.change_log import ChangeLog, Kind, Labels, Object
from trialbus_gateway.core.last_views import bare_view

_AT_ONCE = 500


async def last_trials(
    store: Store,
    namespace: str,
    name: str,
    uid: str,
    opened: int,
    state: Experiment | None,
    labels: Labels,
    log: ChangeLog,
) -> AsyncIterator[Object]:
    """All that were ever opened: by their documents, else as the log knows them, else who they
    were. state: of the experiment, None: do not look for documents."""
    logged = log.last_views(Kind.TRIALS, f"{uid}.")
    for first in range(0, opened, _AT_ONCE):
        views = {}
        if state is not None:
            query = Query(
                equals={"uid": uid}, above={"index": first - 1}, order="index", limit=_AT_ONCE
            )
            trials = map(TRIAL.decode, await store.find(TRIALS.name, query))
            views = {trial.index: trial_view(trial, state) for trial in trials}
        for index in range(first, min(first + _AT_ONCE, opened)):
            yield (
                views.get(index)
                or logged.get(trial_id(uid, index))
                or bare_view(
                    Kind.TRIALS,
                    namespace=namespace,
                    name=trial_name(name, uid, index),
                    uid=trial_id(uid, index),
                    labels=labels,
                )
            )
        # Who watches may take these before more come.
        await asyncio.sleep(0)
