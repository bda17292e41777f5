"""Trials at the door: their tokens prove themselves, and end with the attempt that they are of."""

from collections.abc import Sequence

from trialbus.contracts.collections import RUNS
from trialbus.contracts.trial_tokens import TRIAL_TOKEN_PREFIX, read_trial_token
from trialbus.kernel.ids import run_id
from trialbus.kernel.run import RunPhase
from trialbus.ports.store import Store
from trialbus_gateway.app.failures import Unauthenticated
from trialbus_gateway.core.identities import Identity, of_trial

_FIELDS = ("phase", "trial", "stop_reason", "message")


class TrialBearers:
    """store: unguarded, because nobody is known yet when it is asked."""

    def __init__(self, keys: Sequence[bytes], store: Store) -> None:
        self._keys = keys
        self._store = store

    def takes(self, token: str) -> bool:
        return token.startswith(TRIAL_TOKEN_PREFIX)

    async def identify(self, token: str) -> Identity:
        """Raises Unauthenticated, Transient."""
        grant = read_trial_token(token, self._keys)
        if grant is None:
            raise Unauthenticated("the trial's token is not valid: none of our keys made it")
        key = run_id(grant.uid, grant.index, grant.attempt)
        found = await self._store.get_many(RUNS.name, [key], fields=_FIELDS)
        run, attempt = found.get(key), f"attempt {grant.attempt} of {grant.trial}"
        if run is None or run["trial"] != grant.trial:
            raise Unauthenticated(f"the token is good for {attempt}, which is not there (any more)")
        if run["phase"] != RunPhase.RUNNING.value:
            how = run.get("stop_reason") or run.get("message")
            told = f": {how}" if how else ""
            raise Unauthenticated(f"the token was good for {attempt}, which has ended{told}")
        return of_trial(grant)
