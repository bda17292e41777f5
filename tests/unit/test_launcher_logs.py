"""Pieces of a run's output for people."""

from collections.abc import Sequence

from trialbus.contracts.logs import LogReply, LogRequest
from trialbus.ports.bus import Request
from trialbus.ports.launcher import RunState, RunStatus
from trialbus_trial_launcher.app.logs import Logs


class OneRun:
    """A launcher that holds one run."""

    def __init__(self, output: bytes, state: RunState) -> None:
        self._output = output
        self._state = state

    async def status(self, run_ids: Sequence[str]) -> dict[str, RunStatus]:
        size = len(self._output)
        return {
            key: RunStatus(
                run_id=key,
                state=self._state if key == "u.0.1" else RunState.ABSENT,
                output_bytes=size,
            )
            for key in run_ids
        }

    async def read(self, run_id: str, from_byte: int, max_bytes: int) -> bytes:
        assert from_byte < 2**63, "what a file system takes"
        return self._output[from_byte : from_byte + max_bytes]


async def ask(output: bytes, state: RunState, from_byte: int, max_bytes: int = 100) -> LogReply:
    logs = Logs(OneRun(output, state))
    asked = LogRequest(run="u.0.1", from_byte=from_byte, max_bytes=max_bytes)
    [answer] = await logs.respond([Request(subject="s", data=asked.to_bytes())])
    return LogReply.from_bytes(answer)


async def test_a_character_that_a_piece_cuts_waits_for_the_next_piece() -> None:
    output = "abcé".encode()
    first = await ask(output, RunState.FINISHED, 0, 4)
    second = await ask(output, RunState.FINISHED, first.next_byte, 4)
    assert (first.text, first.next_byte, first.ended) == ("abc", 3, False)
    assert (second.text, second.ended) == ("é", True)


async def test_a_cut_character_at_the_very_end_is_shown_as_a_mark() -> None:
    reply = await ask(b"ab\xc3", RunState.FINISHED, 0)
    assert (reply.text, reply.ended) == ("ab\N{REPLACEMENT CHARACTER}", True)


async def test_a_running_trial_is_not_over_at_its_present_end() -> None:
    reply = await ask(b"abc", RunState.RUNNING, 0)
    assert (reply.text, reply.next_byte, reply.ended) == ("abc", 3, False)


async def test_a_negative_start_counts_from_the_end() -> None:
    assert (await ask(b"0123456789", RunState.RUNNING, -3)).text == "789"
    assert (await ask(b"01", RunState.RUNNING, -30)).text == "01"


async def test_a_run_of_another_host_is_not_known() -> None:
    logs = Logs(OneRun(b"", RunState.RUNNING))
    asked = LogRequest(run="u.1.1", from_byte=0, max_bytes=10)
    [answer] = await logs.respond([Request(subject="s", data=asked.to_bytes())])
    assert not LogReply.from_bytes(answer).known


async def test_a_start_beyond_the_end_is_the_end() -> None:
    reply = await ask(b"0123", RunState.FINISHED, 10**30)
    assert (reply.text, reply.next_byte, reply.ended) == ("", 4, True)
