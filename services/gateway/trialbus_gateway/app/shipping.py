"""Claims and output of pods, handed on to the trial launcher: the trial's own token says which."""

from typing import TypeVar

from trialbus.contracts import subjects
from trialbus.contracts.envelope import Body
from trialbus.contracts.messages import Request
from trialbus.contracts.shipping import Claim, Claimed, ClaimReply, Output, OutputReply, Shipped
from trialbus.kernel.errors import Poison, Transient
from trialbus.kernel.ids import run_id
from trialbus.runtime.named_trials import NamedTrials
from trialbus.runtime.parts import Parts
from trialbus_gateway.app import reach
from trialbus_gateway.app.failures import NotThere, NotWanted, Over
from trialbus_gateway.app.repeating import ANSWER_DEADLINE_S, answered

# Answered in milliseconds: longer means that the request or its answer was lost.
_FIRST_ATTEMPT_S = 2.0

B = TypeVar("B", bound=Body)


class Shipping:
    """Raises NotThere, Over (the attempt is another's, or has ended), Transient."""

    def __init__(
        self,
        parts: Parts,
        *,
        deadline_s: float = ANSWER_DEADLINE_S,
        attempt_s: float = _FIRST_ATTEMPT_S,
    ) -> None:
        """deadline_s: how long nobody may answer."""
        self._parts = parts
        self._deadline_s = deadline_s
        self._attempt_s = attempt_s
        self._named = NamedTrials(parts.store)

    async def claim(self, trial: str, attempt: int, holder: str) -> Claimed:
        """The first holder has the attempt, and has it again when it asks again."""
        run, names = await self._find(trial, attempt)
        data = Claim(run=run, holder=holder).to_bytes()
        request = Request(subject=subjects.claim(*names), data=data)
        reply = await self._ask(request, ClaimReply)
        if not reply.known:
            raise NotThere(reply.refused)
        if not reply.held:
            raise Over(reply.refused)
        return Claimed(stored_to=reply.stored_to)

    async def output(
        self, trial: str, attempt: int, data: bytes, *, start: int, final: bool, note: str
    ) -> Shipped:
        """Raises NotWanted as well: its command may go on, unheard."""
        run, names = await self._find(trial, attempt)
        output = Output(run=run, start=start, data=data, final=final, note=note)
        reply = await self._ask(output.request(subjects.output(*names)), OutputReply)
        if not reply.refused:
            return Shipped(**{name: getattr(reply, name) for name in Shipped.model_fields})
        if not reply.known:
            raise NotThere(reply.refused)
        raise Over(reply.refused) if reply.over else NotWanted(reply.refused)

    async def _find(self, trial: str, attempt: int) -> tuple[str, tuple[str, str, str]]:
        """The run's id; namespace, experiment and trial. A token tells them without a look."""
        grant = reach.current().trial
        if grant is None:
            found = await self._named.find(trial)
            run = run_id(found.uid, found.index, attempt)
            return run, (found.namespace, found.experiment, trial)
        if (grant.trial, grant.attempt) != (trial, attempt):
            mine = f"attempt {grant.attempt} of {grant.trial}"
            raise NotThere(f"the token is good for {mine}, not for attempt {attempt} of {trial}")
        run = run_id(grant.uid, grant.index, grant.attempt)
        return run, (grant.namespace, grant.experiment, grant.trial)

    async def _ask(self, request: Request, kind: type[B]) -> B:
        answer = await answered(
            self._parts, request, attempt_s=self._attempt_s, deadline_s=self._deadline_s
        )
        try:
            return kind.from_bytes(answer)
        except Poison as error:
            raise Transient(f"unreadable answer to a pod: {error}") from error
