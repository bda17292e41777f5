"""What the adapter sends, and how it takes answers that a healthy server does not give."""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import web
from tests.cluster.cluster_clients import HastyClock, scripted

from trialbus.kernel import limits
from trialbus.kernel.errors import Transient
from trialbus.ports.cluster import ClusterApi, Forbidden, NoSuchKind, Patch, Resource, WatchEvent
from trialbus.testkit.waits import until

JOBS = Resource(group="batch", version="v1", kind="Job", plural="jobs", namespaced=True)


async def events_of(api: ClusterApi, *, timeout_s: float = 10.0) -> list[WatchEvent]:
    async with api.watch(JOBS, "n", resource_version="1", timeout_s=timeout_s) as events:
        return [event async for event in events]


async def streaming(request: web.BaseRequest, *pieces: bytes) -> web.StreamResponse:
    """Sends these and stays open until the other side ends it."""
    response = web.StreamResponse()
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
    await asyncio.Event().wait()
    return response


def event_line(name: str, filler: str = "") -> bytes:
    metadata = {"name": name, "resourceVersion": "7", "annotations": {"filler": filler}}
    return json.dumps({"type": "ADDED", "object": {"metadata": metadata}}).encode() + b"\n"


async def test_a_refused_token_is_read_again_and_the_request_repeated_once(tmp_path: Path) -> None:
    shown: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        shown.append(request.headers["Authorization"])
        (tmp_path / "token").write_text("two")
        good = request.headers["Authorization"] == "Bearer two"
        return web.json_response({"items": []}, status=200 if good else 401)

    async with scripted(tmp_path, handler) as api:
        await api.list(JOBS, "n")
    assert shown == ["Bearer one", "Bearer two"]


async def test_a_token_that_stays_refused_is_forbidden(tmp_path: Path) -> None:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({}, status=401)

    async with scripted(tmp_path, handler) as api:
        with pytest.raises(Forbidden):
            await api.list(JOBS, "n")


async def test_a_login_is_never_taken_from_a_netrc_nor_a_redirection_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    asked: list[str] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        asked.append(request.headers["Authorization"])
        return web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"})

    async with scripted(tmp_path, handler) as api:
        with pytest.raises(Transient, match="302"):
            await api.list(JOBS, "n")
    assert asked == ["Bearer one"]


async def test_nothing_goes_to_this_machine_through_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    for exempting in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(exempting, raising=False)

    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"items": []})

    async with scripted(tmp_path, handler) as api:
        assert (await api.list(JOBS, "n")).items == ()


async def test_answers_that_are_no_json_are_transient(tmp_path: Path) -> None:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="<html>a proxy</html>")

    async with scripted(tmp_path, handler) as api:
        with pytest.raises(Transient, match="no JSON"):
            await api.list(JOBS, "n")


async def test_a_plain_404_means_that_the_kind_is_not_served(tmp_path: Path) -> None:
    async def handler(_request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=404, text="404 page not found")

    async with scripted(tmp_path, handler) as api:
        with pytest.raises(NoSuchKind):
            await api.list(JOBS, "n")
        with pytest.raises(NoSuchKind):
            await api.resource("batch/v1", "Job")


async def test_a_silent_server_ends_neither_calls_nor_watches_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CLUSTER_WATCH_GRACE_S", 0.1)
    monkeypatch.setattr(limits, "CLUSTER_LOG_SILENCE_S", 1.0)

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        if "watch" in request.query:
            return await streaming(request, event_line("a"))
        if "follow" in request.query:
            return await streaming(request, b"a line\n")
        await asyncio.Event().wait()
        raise AssertionError

    async with scripted(tmp_path, handler, call_deadline_s=0.1) as api:
        with pytest.raises(Transient, match=r"within 0\.1 s"):
            await api.list(JOBS, "n")
    # What begins before the silence has the time that it takes on a busy machine.
    async with scripted(tmp_path, handler) as api:
        async with asyncio.timeout(20):
            assert [each.object["metadata"]["name"] for each in await events_of(api, timeout_s=1.0)]
            with pytest.raises(Transient, match="broke off"):
                async with api.follow_log("n", "p") as pieces:
                    assert await anext(pieces) == b"a line\n"
                    await anext(pieces)


async def test_a_followed_log_that_is_cut_is_not_taken_for_whole(tmp_path: Path) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"a line\n")
        assert request.transport is not None
        request.transport.abort()
        return response

    async with scripted(tmp_path, handler) as api:
        with pytest.raises(Transient, match="broke off"):
            async with api.follow_log("n", "p") as pieces:
                async for _ in pieces:
                    pass


async def test_logs_that_do_not_begin_take_no_places_from_calls(tmp_path: Path) -> None:
    following = 0

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal following
        if "follow" in request.query:
            following += 1
            await asyncio.Event().wait()
        return web.json_response({"items": []})

    async def follow(api: ClusterApi) -> None:
        async with api.follow_log("n", "p"):
            pass

    count = limits.CLUSTER_REQUESTS_AT_ONCE + 10
    async with scripted(tmp_path, handler) as api:
        tasks = [asyncio.create_task(follow(api)) for _ in range(count)]
        await until(lambda: following == count, "all logs are asked for")
        await api.list(JOBS, "n")
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def test_a_watch_that_breaks_is_transient(tmp_path: Path) -> None:
    cut = event_line("a")[:20]

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(event_line("a"))
        if request.path.endswith("/n/jobs"):
            await response.write(cut)
            await response.write_eof()
        elif request.transport is not None:
            request.transport.abort()
        return response

    async with scripted(tmp_path, handler) as api:
        with pytest.raises(Transient, match="cut"):
            await events_of(api)
        with pytest.raises(Transient, match="broke off"):
            async with api.watch(JOBS, None, resource_version="1", timeout_s=9) as events:
                async for _ in events:
                    pass


async def test_an_event_may_come_in_pieces_and_be_as_large_as_an_object_can_be(
    tmp_path: Path,
) -> None:
    large = event_line("large", "x" * 6_000_000)
    both = large + b"\n" + event_line("small")

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for at in range(0, len(both), 1_000_003):
            await response.write(both[at : at + 1_000_003])
        await response.write_eof()
        return response

    async with scripted(tmp_path, handler) as api:
        names = [each.object["metadata"]["name"] for each in await events_of(api)]
    assert names == ["large", "small"]


@pytest.mark.parametrize("line", [b"{}\n", b"nonsense\n", b'{"type": "ERROR", "object": {}}\n'])
async def test_what_is_no_event_is_transient(tmp_path: Path, line: bytes) -> None:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        return await streaming(request, line)

    async with scripted(tmp_path, handler) as api:
        with pytest.raises(Transient):
            await events_of(api)


async def test_what_is_sent_of_each_call(tmp_path: Path) -> None:
    sent: list[tuple[str, str, str]] = []

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        body = (await request.read()).decode()
        sent.append((request.method, str(request.rel_url), body))
        return web.json_response({"metadata": {"name": "x"}, "items": []})

    async with scripted(tmp_path, handler, clock=HastyClock()) as api:
        await api.list(JOBS, None, label_selector="a=b,c", limit=7, next="t+/=")
        await api.create(JOBS, "n", {"a": 1}, dry_run=True)
        await api.patch(JOBS, "n", "x", {"b": 2}, kind=Patch.APPLY)
        await api.delete(JOBS, "n", "x", uid="u", grace_s=5)
        await api.log("n", "p", container="c", since="2026-01-01T00:00:00+02:00", tail_lines=3)
    options = '{"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background", '
    jobs = "/apis/batch/v1/namespaces/n/jobs"
    assert sent == [
        ("GET", "/apis/batch/v1/jobs?labelSelector=a%3Db,c&limit=7&continue=t%2B/%3D", ""),
        ("POST", f"{jobs}?fieldManager=trialbus&dryRun=All", '{"a": 1}'),
        ("PATCH", f"{jobs}/x?fieldManager=trialbus&force=true", '{"b": 2}'),
        (
            "DELETE",
            f"{jobs}/x",
            options + '"preconditions": {"uid": "u"}, "gracePeriodSeconds": 5}',
        ),
        (
            "GET",
            "/api/v1/namespaces/n/pods/p/log?container=c&sinceTime=2026-01-01T00:00:00%2B02:00"
            "&tailLines=3",
            "",
        ),
    ]
