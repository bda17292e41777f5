"""Words of workers: checked once, handed on as they came, repeated until they are answered."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from trialbus.contracts import subjects
from trialbus.contracts.envelope import Body, FieldProblem
from trialbus.contracts.work import NAME_FIELD, Ask, Work, WorkReply, WorkVerb
from trialbus.contracts.work_events import WorkAsked, named, read_unnamed, read_unnamed_fields
from trialbus.kernel.errors import Poison, Problem, Refused, Transient
from trialbus.kernel.limits import MAX_PAYLOAD_BYTES
from trialbus.ports.bus import Request
from trialbus.runtime.parts import Parts
from trialbus_gateway.app.documents import check_name
from trialbus_gateway.app.failures import NotThere, TooLarge, Unreadable
from trialbus_gateway.app.repeating import ANSWER_DEADLINE_S, answered

# Words are answered in milliseconds: longer means that the request or its answer was lost.
_FIRST_ATTEMPT_S = 1.0
# An ask waits in portions of this, so that a launcher that died under it is not waited for.
_WAIT_PORTION_S = 5.0


B = TypeVar("B", bound=Body)

Gone = Callable[[], Awaitable[bool]]


async def _never() -> bool:
    return False


class _Verdict(Body):
    """Of a `WorkReply`: all that the hot path looks at."""

    accepted: bool
    problems: tuple[FieldProblem, ...] = ()


class Working:
    """Each method gives a `WorkReply`, and raises Unreadable, NotThere, Refused, TooLarge,
    Transient. deadline_s: how long nobody may answer, beside what an ask itself waits."""

    def __init__(
        self,
        parts: Parts,
        *,
        deadline_s: float = ANSWER_DEADLINE_S,
        attempt_s: float = _FIRST_ATTEMPT_S,
    ) -> None:
        self._parts = parts
        self._deadline_s = deadline_s
        self._attempt_s = attempt_s

    async def say(
        self, namespace: str, name: str, verb: WorkVerb, data: bytes, gone: Gone = _never
    ) -> bytes:
        """data: a body of `contracts.work` as JSON, to which the ids are added that it leaves out;
        an ask may be empty. gone: whether nobody waits for the answer any more. The reply as it
        came."""
        _check_names(namespace, name)
        if len(data) > MAX_PAYLOAD_BYTES:
            raise TooLarge(f"the body is larger than {MAX_PAYLOAD_BYTES} bytes")
        if not data and verb is WorkVerb.ASK:
            data = b"{}"
        try:
            body = read_unnamed(verb, data)
        except Poison as error:
            raise Unreadable(str(error)) from error
        whole = named(body, self._new_id)
        asked = WorkAsked(verb=verb, namespace=namespace, name=name, body=whole)
        return await self._answer(asked, data if whole is body else _encoded(whole), gone)

    async def say_fields(
        self, namespace: str, name: str, verb: WorkVerb, fields: dict[str, Any], *, within: str
    ) -> WorkReply:
        """fields: a body of `contracts.work`, as Python has it. within: where it stands in what
        was sent."""
        _check_names(namespace, name)
        body = named(read_unnamed_fields(verb, fields, within=within), self._new_id)
        return await self.take(WorkAsked(verb=verb, namespace=namespace, name=name, body=body))

    async def take(self, asked: WorkAsked) -> WorkReply:
        return _read(WorkReply, await self._answer(asked, _encoded(asked.body)))

    def _new_id(self, _part: str) -> str:
        return self._parts.ids.new_id()

    async def _answer(self, asked: WorkAsked, data: bytes, gone: Gone = _never) -> bytes:
        body = asked.body
        if isinstance(body, Ask) and body.wait > _WAIT_PORTION_S:
            return await self._waited(asked, body, gone)
        return await self._requested(asked, data, body.wait if isinstance(body, Ask) else 0.0)

    async def _waited(self, asked: WorkAsked, ask: Ask, gone: Gone) -> bytes:
        """Under one id an ask gets the same trials, so it can be asked again in portions. Whoever
        is gone gets no trial in the next."""
        clock = self._parts.clock
        until = clock.monotonic() + ask.wait
        while True:
            left = max(until - clock.monotonic(), 0.0)
            portion = ask.model_copy(update={"wait": min(left, _WAIT_PORTION_S)})
            answer = await self._requested(asked, _encoded(portion), portion.wait)
            reply = _read(WorkReply, answer)
            if reply.trials or reply.over or left <= _WAIT_PORTION_S or await gone():
                return answer

    async def _requested(self, asked: WorkAsked, data: bytes, wait_s: float) -> bytes:
        request = Request(
            subject=subjects.command(asked.namespace, asked.name, asked.verb.value), data=data
        )
        answer = await answered(
            self._parts,
            request,
            attempt_s=self._attempt_s + wait_s,
            deadline_s=self._deadline_s + wait_s,
        )
        verdict = _read(_Verdict, answer)
        if not verdict.accepted:
            raise _refusal(verdict.problems)
        return answer


def _check_names(namespace: str, name: str) -> None:
    check_name("namespace", namespace)
    check_name("name", name)


def _encoded(body: Work) -> bytes:
    try:
        return body.to_bytes()
    except Poison as error:
        raise TooLarge(str(error)) from error


def _refusal(problems: tuple[FieldProblem, ...]) -> Exception:
    for problem in problems:
        if problem.field == NAME_FIELD:
            return NotThere(problem.message)
    return Refused([Problem(field=it.field, message=it.message) for it in problems])


def _read(model: type[B], answer: bytes) -> B:
    try:
        return model.from_bytes(answer)
    except Poison as error:
        raise Transient(f"unreadable answer to a worker: {error}") from error
