"""Service accounts at the door: what Kubernetes says of a token, and how often it is asked."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trialbus.adapters.http import serving
from trialbus.kernel.access import Role
from trialbus.kernel.errors import Transient
from trialbus.testkit.access_world import AUDIENCE, StepClock
from trialbus_gateway.adapters.access.token_review import TokenReviews, reviewing
from trialbus_gateway.app.failures import TooMany, Unauthenticated


class ApiServer:
    """TokenReview of an API server: accounts by token."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.shown: list[str] = []
        self.status: dict[str, Any] = {}

    async def review(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.shown.append(request.headers["authorization"])
        return JSONResponse({**body, "status": self.status}, status_code=201)

    @property
    def app(self) -> Starlette:
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        return Starlette(routes=[Route(path, self.review, methods=["POST"])])


def account(name: str, *, audiences: list[str] | None = None) -> dict[str, Any]:
    told = {"authenticated": True, "user": {"username": name}}
    return told if audiences is None else {**told, "audiences": audiences}


@asynccontextmanager
async def reviewed(folder: Path) -> AsyncIterator[tuple[TokenReviews, ApiServer, StepClock]]:
    server, clock = ApiServer(), StepClock()
    (folder / "token").write_text("our-own-token\n")
    async with (
        serving(server.app, host="127.0.0.1", port=0) as port,
        httpx.AsyncClient() as client,
    ):
        review = reviewing(
            client, api=f"http://127.0.0.1:{port}", credentials=folder, audience=AUDIENCE
        )
        yield (
            TokenReviews(review, clock, audience=AUDIENCE, role=Role.WORKER),
            server,
            clock,
        )


async def test_a_service_account_acts_in_its_own_namespace(tmp_path: Path) -> None:
    async with reviewed(tmp_path) as (reviews, server, _):
        server.status = account("system:serviceaccount:team-a:ci", audiences=[AUDIENCE])
        identity = await reviews.identify("pod-token")
        assert identity.namespaces == frozenset({"team-a"})
        assert (identity.role, identity.name) == (Role.WORKER, "system:serviceaccount:team-a:ci")
        assert server.asked[0]["spec"] == {"token": "pod-token", "audiences": [AUDIENCE]}
        assert server.shown == ["Bearer our-own-token"]


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"authenticated": False},
        {"authenticated": "true", "user": {"username": "system:serviceaccount:team-a:ci"}},
        account("system:serviceaccount:team-a:ci"),
        account("system:serviceaccount:team-a:ci", audiences=["https://kubernetes.default.svc"]),
        account("system:admin", audiences=[AUDIENCE]),
        account("system:serviceaccount:Team_A:ci", audiences=[AUDIENCE]),
        account("system:serviceaccount:team-a:", audiences=[AUDIENCE]),
    ],
)
async def test_whom_kubernetes_does_not_vouch_for_is_nobody(
    tmp_path: Path, status: dict[str, Any]
) -> None:
    async with reviewed(tmp_path) as (reviews, server, _):
        server.status = status
        with pytest.raises(Unauthenticated):
            await reviews.identify("pod-token")


async def test_a_review_is_kept_for_a_minute_at_most(tmp_path: Path) -> None:
    async with reviewed(tmp_path) as (reviews, server, clock):
        server.status = account("system:serviceaccount:team-a:ci", audiences=[AUDIENCE])
        for _ in range(5):
            await reviews.identify("pod-token")
        assert len(server.asked) == 1
        server.status = {"authenticated": False}
        clock.advance(60)
        with pytest.raises(Unauthenticated):
            await reviews.identify("pod-token")


async def test_made_up_tokens_do_not_make_us_flood_the_api_server(tmp_path: Path) -> None:
    async with reviewed(tmp_path) as (reviews, server, _):
        refused = []
        for number in range(80):
            with pytest.raises((Unauthenticated, TooMany)) as error:
                await reviews.identify(f"made-up-{number}")
            refused.append(error.type)
        assert len(server.asked) == 50
        assert refused[50:] == [TooMany] * 30


async def test_an_api_server_that_is_away_is_no_verdict(tmp_path: Path) -> None:
    async with httpx.AsyncClient() as client:
        review = reviewing(client, api="http://127.0.0.1:9", credentials=tmp_path, audience="a")
        with pytest.raises(Transient) as error:
            await review("secret-pod-token")
        (tmp_path / "token").write_text("our-own-token")
        with pytest.raises(Transient) as other:
            await review("secret-pod-token")
    assert "token" not in str(other.value).replace("for tokens", "")
    assert "secret" not in str(error.value)
