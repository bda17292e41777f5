"""What the client does with answers: repeats, errors, streams. No sockets."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import trialbus
from trialbus.client.addresses import find_address
from trialbus.client.calls import Answer, Call, Pause, Send, good
from trialbus.client.following import Following
from trialbus.client.http1 import Base, ResponseReader
from trialbus.client.patience import Patience, patiently

CALL = Call(method="POST", path="/v1/events", body=b"{}")


@dataclass
class Scene:
    """Answers to a call, one after the other; time passes in pauses alone."""

    answers: list[Answer | Exception]
    seconds: float = 30.0
    now: float = 0.0
    pauses: list[float] = field(default_factory=list)

    def play(self) -> Answer:
        patience = Patience(seconds=self.seconds, now=lambda: self.now, draw=lambda: 1.0)
        flow = patiently(CALL, patience)
        step = next(flow)
        while True:
            try:
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.now += step.seconds
                    step = flow.send(None)
                    continue
                assert isinstance(step, Send)
                answer = self.answers.pop(0)
                step = flow.throw(answer) if isinstance(answer, Exception) else flow.send(answer)
            except StopIteration as end:
                found: Answer = end.value
                return found


def answer(status: int, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
    data = b"" if body is None else json.dumps(body).encode()
    return Answer(status=status, body=data, headers=headers or {})


def test_what_was_not_answered_is_asked_again_with_longer_and_longer_pauses() -> None:
    gone = trialbus.Unavailable("gone")
    scene = Scene([gone, answer(503), answer(502), answer(200)])
    assert scene.play().status == 200
    assert scene.pauses == [0.05, 0.1, 0.2]


def test_a_gateway_that_says_when_to_come_again_is_believed() -> None:
    scene = Scene([answer(429, headers={"retry-after": "7"}), answer(200)])
    assert scene.play().status == 200
    assert scene.pauses == [7.0]


def test_in_the_end_the_last_reason_is_told() -> None:
    scene = Scene([answer(503, {"message": "mongo is away"}) for _ in range(50)], seconds=3.0)
    with pytest.raises(trialbus.Unavailable, match="mongo is away"):
        scene.play()
    assert scene.now == pytest.approx(3.0)
    assert scene.pauses[:5] == [0.05, 0.1, 0.2, 0.4, 0.8]


def test_a_refusal_is_no_reason_to_ask_again() -> None:
    scene = Scene([answer(422)])
    assert scene.play().status == 422
    assert scene.pauses == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, trialbus.Refused),
        (401, trialbus.Unauthorised),
        (403, trialbus.Unauthorised),
        (404, trialbus.NotThere),
        (409, trialbus.Conflict),
        (413, trialbus.Refused),
        (422, trialbus.Refused),
        (500, trialbus.ServerFailed),
        (503, trialbus.Unavailable),
    ],
)
def test_each_status_is_an_error_with_what_was_said(
    status: int, kind: type[trialbus.TrialbusError]
) -> None:
    with pytest.raises(kind, match="because"):
        good(answer(status, {"message": "because"}))


def test_a_refusal_lists_every_problem() -> None:
    problems = [
        {"field": "spec.a", "message": "is wrong"},
        {"field": "spec.b", "message": "too"},
    ]
    with pytest.raises(trialbus.Refused) as caught:
        good(answer(422, {"message": "refused: 2 problems", "problems": problems}))
    assert [(it.field, it.message) for it in caught.value.problems] == [
        ("spec.a", "is wrong"),
        ("spec.b", "too"),
    ]
    assert str(caught.value) == "refused: 2 problems\n  spec.a: is wrong\n  spec.b: too"


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ],
)
def test_an_answer_is_read_however_it_is_cut(wire: bytes) -> None:
    reader = ResponseReader()
    for i in range(len(wire)):
        assert not reader.complete
        reader.feed(wire[i : i + 1])
    assert reader.complete
    assert (reader.answer().status, reader.keeps_alive) == (200, True)


def test_an_answer_may_end_with_its_connection_but_not_in_its_midst() -> None:
    reader = ResponseReader()
    reader.feed(b"HTTP/1.0 200 OK\r\n\r\nhello")
    assert not reader.complete
    reader.end()
    assert reader.answer().body == b"hello"
    cut = ResponseReader()
    cut.feed(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello")
    with pytest.raises(trialbus.Unavailable, match="broke off"):
        cut.end()


def test_what_is_no_http_is_told_so() -> None:
    with pytest.raises(trialbus.Unavailable, match="does not speak HTTP"):
        ResponseReader().feed(b"SSH-2.0-OpenSSH_9.2\r\n")


def test_a_request_carries_the_token_and_no_other_line() -> None:
    wire = Base("https://host:8443/prefix/", "secret").request(CALL).decode()
    assert wire.startswith("POST /prefix/v1/events HTTP/1.1\r\nhost: host:8443\r\n")
    assert "\r\nauthorization: Bearer secret\r\n" in wire
    assert wire.endswith("content-type: application/json\r\ncontent-length: 2\r\n\r\n{}")
    with pytest.raises(ValueError, match="token"):
        Base("http://host", "a\r\nb: c")
    with pytest.raises(ValueError, match="no address"):
        Base("ftp://host")


def event(number: int, kind: str = "trial.succeeded") -> bytes:
    found = {"id": str(number), "type": f"io.trialbus.{kind}.v1", "time": "2026-11-22T05:00:00Z"}
    return f"id: {number}\ndata: {json.dumps(found)}\n\n".encode()


def test_a_stream_that_broke_off_goes_on_where_it_was() -> None:
    following = Following("/events", follow=True, after=None)
    assert "last-event-id" not in following.call.headers
    wire = b": still here\n\n" + event(1) + event(2)
    seen = [it.id for i in range(len(wire)) for it in following.feed(wire[i : i + 1])]
    assert seen == ["1", "2"]
    list(following.feed(event(3)[:10]))  # and then it broke
    assert following.call.headers["last-event-id"] == "2"
    # A gateway that does not know the last one sends all of them again.
    again = event(1) + event(2) + event(3) + event(4, "experiment.deleted")
    assert [it.id for it in following.feed(again)] == ["3", "4"]
    assert following.done


def test_a_stream_that_is_not_followed_ends_with_its_answer() -> None:
    once, followed = Following("/e", False, None), Following("/e", True, "7")
    once.ended()
    followed.ended()
    assert (once.done, followed.done) == (True, False)
    assert followed.call.headers["last-event-id"] == "7"


def test_an_experiment_that_was_followed_and_is_gone_is_deleted() -> None:
    following, failure = Following("/e", True, None), trialbus.NotThere("gone")
    with pytest.raises(trialbus.NotThere):
        following.gone(failure)
    list(following.feed(event(1)))
    following.gone(failure)
    assert following.done


def test_a_stream_that_stays_away_is_given_up() -> None:
    now = 0.0
    patience = Patience(seconds=5.0, now=lambda: now)
    following = Following("/e", True, None)
    failure = trialbus.Unavailable("gone")
    now = 1.0
    following.broken(failure, patience)
    now = 5.5
    following.broken(failure, patience)
    now = 6.0
    with pytest.raises(trialbus.Unavailable):
        following.broken(failure, patience)


def test_the_address_is_what_is_said_then_the_environment_then_the_stack_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"TRIALBUS_URL": "http://env", "TRIALBUS_TOKEN": "t"}
    assert find_address("http://said", environ=environ).url == "http://said"
    found = find_address(environ=environ)
    assert (found.url, found.token) == ("http://env", "t")
    with pytest.raises(trialbus.Unavailable, match="trialbus up"):
        find_address(environ={})
    for folder in (".trialbus", "other"):
        (Path(folder) / "run").mkdir(parents=True)
        (Path(folder) / "run/gateway.json").write_text(json.dumps({"http": f"http://{folder}"}))
    assert find_address(environ={}).url == "http://.trialbus"
    assert find_address(environ={"TRIALBUS_DATA_DIR": "other"}).url == "http://other"
    # What is said of the folder comes before the environment's address.
    assert find_address(data_dir="other", environ=environ).url == "http://other"
