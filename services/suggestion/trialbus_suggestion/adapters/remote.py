"""Algorithms behind Katib's gRPC API: any image that serves it can be one of ours."""

from collections.abc import Mapping

import grpc
import grpc.aio

from trialbus.adapters.grpc import CallFailed, call, open_channel
from trialbus.contracts.katib.stubs import api_pb2
from trialbus.kernel.errors import NotThere, Problem, Refused, TooLarge
from trialbus.kernel.ids import trial_name
from trialbus.kernel.limits import MAX_ANSWER_BYTES, SUGGESTION_DEADLINE_S
from trialbus.kernel.proposals import PointTexts, Proposal
from trialbus.kernel.suggestion import Mark
from trialbus_suggestion.adapters.katib_messages import experiment_message, trial_messages
from trialbus_suggestion.app.remote import RemoteQuestion

_SERVICE = "Suggestion"


class GrpcAlgorithms:
    """addresses: `host:port` by algorithm. A channel is opened when it is first needed."""

    def __init__(
        self, addresses: Mapping[str, str], *, timeout_s: float = SUGGESTION_DEADLINE_S
    ) -> None:
        self._addresses = dict(addresses)
        self._timeout_s = timeout_s
        self._channels: dict[str, grpc.aio.Channel] = {}

    def serves(self, algorithm: str) -> bool:
        return algorithm in self._addresses

    async def propose(self, question: RemoteQuestion) -> Proposal:
        algorithm = question.experiment.spec.algorithm.name
        address = self._addresses[algorithm]
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = open_channel(address)
        try:
            if question.request.first == 0:
                await self._validate(channel, question)
            reply = await self._ask(channel, question)
        except (CallFailed, NotThere, TooLarge) as error:
            message = f"{algorithm} at {address} failed: {error}"
            raise Refused([Problem(field="algorithm", message=message)]) from error
        return _proposal(reply, question)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    async def _validate(self, channel: grpc.aio.Channel, question: RemoteQuestion) -> None:
        """Raises Refused with what the algorithm says of its settings. One that has nothing to
        say of them takes all, as in Katib."""
        request = api_pb2.ValidateAlgorithmSettingsRequest(
            experiment=experiment_message(question.experiment, None)
        )
        method = "ValidateAlgorithmSettings"
        try:
            await call(channel, _SERVICE, method, request, timeout_s=self._timeout_s)
        except CallFailed as error:
            if error.code is not grpc.StatusCode.UNIMPLEMENTED:
                raise

    async def _ask(
        self, channel: grpc.aio.Channel, question: RemoteQuestion
    ) -> api_pb2.GetSuggestionsReply:
        request, experiment = question.request, question.experiment
        named = (
            (question.names.get(trial.index) or _own_name(question, trial.index), trial)
            for trial in question.trials
        )
        asked = api_pb2.GetSuggestionsRequest(
            experiment=experiment_message(experiment, question.settings),
            trials=trial_messages(experiment, named, request.watermark),
            current_request_number=request.count,
            total_request_number=request.first + request.count,
        )
        reply: api_pb2.GetSuggestionsReply = await call(
            channel, _SERVICE, "GetSuggestions", asked, timeout_s=self._timeout_s
        )
        return reply


def _own_name(question: RemoteQuestion, index: int) -> str:
    return trial_name(question.experiment.name, question.experiment.id, index)


def _proposal(reply: api_pb2.GetSuggestionsReply, question: RemoteQuestion) -> Proposal:
    """An answer without points says that there are no more. Raises Refused for what is no point
    of this experiment."""
    names = question.experiment.spec.assignment_names
    wanted, size = question.request.count, reply.ByteSize()
    if len(reply.parameter_assignments) > wanted:
        raise _wrong(f"gave {len(reply.parameter_assignments)} points, not {wanted}")
    if size > MAX_ANSWER_BYTES:
        raise _wrong(f"gave an answer of {size} bytes, more than {MAX_ANSWER_BYTES}")
    points = tuple(_point(said, names) for said in reply.parameter_assignments)
    given = tuple(said.trial_name for said in reply.parameter_assignments)
    marks = tuple(
        Mark(labels=tuple(sorted(said.labels.items()))) for said in reply.parameter_assignments
    )
    settings = tuple((it.name, it.value) for it in reply.algorithm.algorithm_settings)
    return Proposal(
        points=points,
        exhausted=not points,
        names=given if any(given) else (),
        marks=marks if any(mark.labels for mark in marks) else (),
        settings=settings or question.settings,
    )


def _point(said: api_pb2.GetSuggestionsReply.ParameterAssignments, names: PointTexts) -> PointTexts:
    values = {it.name: it.value for it in said.assignments}
    if set(values) != set(names):
        told, wanted = ", ".join(sorted(values)) or "nothing", ", ".join(names)
        raise _wrong(f"gave values for {told:.500}, not for {wanted:.500}")
    return tuple(values[name] for name in names)


def _wrong(what: str) -> Refused:
    return Refused([Problem(field="algorithm", message=f"the algorithm {what}")])
