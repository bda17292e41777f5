"""What the Kubernetes API is answered from."""

from collections.abc import Sequence

from trialbus.contracts.collections import EXPERIMENTS
from trialbus.contracts.documents import TRIAL
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Query
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.attempts import Attempts
from trialbus_gateway.app.changes import Changes
from trialbus_gateway.app.changes_listing import ChangesListing
from trialbus_gateway.app.commanding import Commanding
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.editing import Editing
from trialbus_gateway.app.listing import Listing
from trialbus_gateway.app.logs import Logs
from trialbus_gateway.app.readable import readable
from trialbus_gateway.app.telling import Telling
from trialbus_gateway.app.trial_listing import TrialListing

# What comes right after "/" in ASCII: the first name that can follow all of a namespace's.
_BEHIND = "0"


class Showing:
    def __init__(self, parts: Parts, commanding: Commanding, changes: Changes) -> None:
        self.clock = parts.clock
        self.changes = changes
        self.changed = ChangesListing(changes, parts.store)
        self.editing = Editing(parts, commanding, changes)
        self.attempts = Attempts(parts.store)
        self.documents = Documents(parts.store)
        self.listing = Listing(parts.store)
        self.trial_listing = TrialListing(parts.store)
        self.logs = Logs(parts)
        self.telling = Telling(parts.store, parts.clock)
        self._store = parts.store

    async def namespaces(self) -> dict[str, float]:
        """Of living experiments, each with the time of one of them; one indexed read for each."""
        since: dict[str, float] = {}
        after = ""
        while True:
            query = Query(
                above={"alive_name": after},
                order="alive_name",
                limit=1,
                fields=("namespace", "created_at"),
            )
            found = await self._store.find(EXPERIMENTS.name, query)
            if not found:
                return since
            name = str(found[0]["namespace"])
            since[name] = float(found[0]["created_at"])
            after = name + _BEHIND

    async def newest_trials(self, uid: str, limit: int) -> Sequence[Trial]:
        """Of an experiment, oldest first."""
        found = await self.documents.newest_trials(uid, limit)
        return readable(TRIAL, found)
