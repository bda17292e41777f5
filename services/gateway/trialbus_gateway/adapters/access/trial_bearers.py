"""Trials at the door: their tokens prove themselves, and end with the attempt that they are of."""

from collections.abc import Sequence

from trialbus.contracts.collections import RUNS
from trialbus.contracts.trial_tokens import TRIAL_TOKEN_PREFIX, read_trial_token
from trialbus.kernel.ids import run_id
from trialbus.kernel.run import RunPhase
from trialbus.ports.store import Store
from trialbus_gateway.app.failures import Unauthenticated
from trialbus_gateway.core.identities import Identity, of_trial


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
            raise Unauthenticated("the token is not valid")
        key = run_id(grant.uid, grant.index, grant.attempt)
        found = await self._store.get_many(RUNS.name, [key], fields=("phase", "trial"))
        run = found.get(key)
        if run is None or run["trial"] != grant.trial:
            raise Unauthenticated("the token's trial is not there")
        if run["phase"] != RunPhase.RUNNING.value:
            raise Unauthenticated("the token's trial has ended")
        return of_trial(grant)
