"""The trace of a pod's run in what its wrapper asks."""

import pytest

from trialbus.kernel.limits import TRACED_CHUNKS
from trialbus.testkit.pod_gateway import PodGateway
from trialbus.testkit.waits import until_sync
from trialbus.testkit.wrapped import UNTIL_GO, WAIT_S, Wrapped

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNKEPT = TRACE[:-2] + "00"


def test_its_requests_are_in_the_trace_of_the_run(pod: Wrapped, gateway: PodGateway) -> None:
    pod.more["TRACEPARENT"] = TRACE
    gateway.faults += ["reset", 503]
    ended = pod.shell("echo loss=1; echo $TRACEPARENT")
    assert ended.stdout.split()[1].decode() == TRACE
    assert gateway.traces == [("claim", [TRACE]), ("output", [TRACE])]


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        TRACE + "0",
        TRACE[:-1],
        TRACE.upper(),
        TRACE.replace("-", "_"),
        "ff" + TRACE[2:],
        TRACE.replace("b7ad6b7169203331", "0" * 16),
        TRACE.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        TRACE[:-4] + "\r\n01",
    ],
)
def test_without_a_trace_its_requests_name_none(
    pod: Wrapped, gateway: PodGateway, text: str | None
) -> None:
    if text is not None:
        pod.more["TRACEPARENT"] = text
    assert pod.shell("echo loss=1").code == 0
    assert gateway.traces == [("claim", []), ("output", [])]


def test_of_a_run_that_goes_on_and_on_only_the_first_requests_and_the_last_are_kept(
    pod: Wrapped, gateway: PodGateway
) -> None:
    """The others say that they are not: else the gateway would draw whether to keep each."""
    pod.more["TRACEPARENT"] = TRACE
    gateway.look_s = 0.1
    process = pod.start("sh", "-c", UNTIL_GO, str(pod.folder))
    until_sync(lambda: len(gateway.asked) > TRACED_CHUNKS + 3, "it asks on and on", within_s=WAIT_S)
    (pod.folder / "go").touch()
    assert pod.end(process).code == 0
    assert gateway.final
    seen = [traces for _, traces in gateway.traces]
    first, later, last = seen[: TRACED_CHUNKS + 1], seen[TRACED_CHUNKS + 1 : -1], seen[-1]
    assert first == [[TRACE]] * (TRACED_CHUNKS + 1), "with the claim"
    assert len(later) > 2 and later == [[UNKEPT]] * len(later)
    assert last == [TRACE]
