"""Who may do what over HTTP: every route, with every kind of caller, good and bad."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from trialbus.testkit.access_calls import (
    ADMINS,
    BY_BODY,
    COMMON,
    OPEN,
    Call,
    calls,
    routes_of,
    snapshot,
    told,
)
from trialbus.testkit.access_world import OURS, THEIRS, AccessWorld, access_world
from trialbus.testkit.gateway_world import katib
from trialbus_gateway.adapters.access import needs
from trialbus_gateway.adapters.access.needs import NEEDS


@pytest.fixture
async def access(tmp_path: Path) -> AsyncIterator[AccessWorld]:
    async with access_world(tmp_path) as made:
        yield made


# Every route says what it needs -------------------------------------------------------------------


def test_every_route_says_what_it_needs_of_its_caller(access: AccessWorld) -> None:
    """Who adds a route adds it to adapters/access/needs.py; until then only admins may use it."""
    routes = {route.path for _, route in routes_of(access)}
    assert routes - set(NEEDS) == set()
    for method, route in routes_of(access):
        assert NEEDS[route.path].actions[method]


async def test_a_route_that_nobody_thought_of_is_for_admins_only(access: AccessWorld) -> None:
    (forgotten,) = [route for _, route in routes_of(access) if route.path == "/v1/status"]
    need = needs.need_of("/v1/some/new/route")
    assert need.scope is needs.Scope.INSTALLATION
    forgotten.app._need = need  # type: ignore[attr-defined]
    assert (await access.call(access.tokens["writer"], "GET", "/v1/status"))[0] == 403
    assert (await access.call(access.tokens["admin"], "GET", "/v1/status"))[0] == 200


# Who is nobody ------------------------------------------------------------------------------------


async def test_who_shows_no_token_or_a_wrong_one_is_told_nothing(access: AccessWorld) -> None:
    issuer, now = access.issuer, access.issuer.claims()["iat"]
    bad: dict[str, str | None] = {
        "none": None,
        "unknown": "tbs_nobody",
        "expired": access.tokens["expired"],
        "no token's form": "a b",
        "expired JWT": issuer.token(exp=now - 61),
        "not yet valid": issuer.token(nbf=now + 120),
        "no expiry": issuer.token(exp=None),
        "wrong audience": issuer.token(aud="another"),
        "no audience": issuer.token(aud=None),
        "wrong issuer": issuer.token(iss="https://login.evil"),
        "no subject": issuer.token(sub=None),
        "alg none": issuer.unsigned(),
        "HS256 with the RSA key": issuer.with_the_public_key(),
        "another's key": issuer.by_a_stranger(),
        "kid of a file": issuer.by_a_stranger({"kid": "../../../../dev/null"}),
        "kid of a query": issuer.by_a_stranger({"kid": "x' UNION SELECT 'key"}),
        "kid of the other key": issuer.token({"kid": "e1"}),
        "kid of the secret": issuer.token({"kid": "h1"}),
        "own key in the header": issuer.by_a_stranger({"jwk": {"kty": "RSA", "e": "AQAB"}}),
        "own address of keys": issuer.by_a_stranger({"jku": "https://evil.example/keys"}),
        "own certificates": issuer.by_a_stranger({"x5u": "https://evil.example/x5u"}),
        "extensions": issuer.token({"crit": ["exp"]}),
        "no role": issuer.token(role=None),
        "made-up role": issuer.token(role="root"),
        "role of trials": issuer.token(role="trial"),
        "no namespaces": issuer.token(namespaces=None),
        "no names in namespaces": issuer.token(namespaces=["../team-b", "Team_B"]),
        "service account, other audience": "sa-other",
        "no service account": "stolen",
        "trial, forged": access.trial_token(key=b"f" * 64),
        "trial, other trial sealed": access.trial_token(trial="tune-aaaaaaaa"),
        "trial, later attempt": access.trial_token(attempt=2),
        "trial, no seal": access.trial_token().rpartition(".")[0],
    }
    before = await snapshot(access)
    asked = [call for call in calls(access, THEIRS) if call.route not in OPEN]
    wrong, count = [], 0
    for who, token in bad.items():
        wrong += [f"{who}: {each}" for each in await told(access, token, asked, 401)]
        count += len(asked)
    assert wrong == []
    assert count >= 1500
    assert await snapshot(access) == before
    # An issuer is not asked anew for each made-up key.
    assert issuer.fetched <= 2


async def test_open_paths_answer_anybody(access: AccessWorld) -> None:
    found = [call for call in calls(access, OURS) if call.route in OPEN]
    assert {call.route for call in found} == OPEN
    assert await told(access, None, found, 200) == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([("authorization", "Basic YWRtaW46YWRtaW4=")], 401),
        ([("authorization", "Bearer")], 401),
        ([("authorization", "")], 401),
        ([("authorization", "Bearer TOKEN"), ("authorization", "Bearer TOKEN")], 401),
        ([("x-authorization", "Bearer TOKEN")], 401),
        ([("cookie", "token=TOKEN")], 401),
        ([("authorization", "bearer TOKEN")], 200),
        ([("authorization", "Bearer  TOKEN")], 200),
        ([("authorization", f"Bearer {'x' * 20_000}")], 401),
        ([("authorization", "Bearer t\u00f6ken")], 401),
    ],
)
async def test_a_token_is_taken_from_one_header_only(
    access: AccessWorld, headers: list[tuple[str, str]], status: int
) -> None:
    token = access.tokens["reader"]
    shown = [(name, value.replace("TOKEN", token).encode("latin-1")) for name, value in headers]
    named = [(name.encode(), value) for name, value in shown]
    answer = await access.world.client.get("/v1/experiments", headers=named)
    assert answer.status_code == status
    query = await access.world.client.get(f"/v1/experiments?token={token}&access_token={token}")
    assert query.status_code == 401


# Tenants ------------------------------------------------------------------------------------------


async def test_what_is_of_another_tenant_does_not_exist(access: AccessWorld) -> None:
    """Whatever the role, whatever the verb: 404, and nothing of it in the answer."""
    before = await snapshot(access)
    foreign = [call for call in calls(access, THEIRS) if call.names_tenant]
    ours = {
        "reader": access.tokens["reader"],
        "writer": access.tokens["writer"],
        "worker": access.tokens["worker"],
        "trial": access.trial_token(),
        "OIDC": access.issuer.token(),
        "OIDC by ES256": access.issuer.ec_token(),
        "OIDC admin": access.issuer.token(role=["reader", "admin"]),
        "service account": "sa-good",
    }
    wrong, count = [], 0
    for who, token in ours.items():
        # Who may post no events or make no namespaces at all is told so whatever the body says.
        without = {"reader": BY_BODY, "worker": BY_BODY[1:], "trial": BY_BODY[1:]}.get(who, ())
        asked = [call for call in foreign if call.route not in without]
        wrong += [f"{who}: {each}" for each in await told(access, token, asked, 404)]
        count += len(asked)
    assert wrong == []
    assert count >= 250
    assert await snapshot(access) == before


async def test_a_namespace_that_nobody_has_answers_as_one_of_another_tenant(
    access: AccessWorld,
) -> None:
    for path in ("experiments/tune", "experiments/tune/progress", "experiments/tune/explain"):
        known = await access.call(access.tokens["reader"], "GET", f"/v1/namespaces/{THEIRS}/{path}")
        none = await access.call(access.tokens["reader"], "GET", f"/v1/namespaces/team-z/{path}")
        assert known == (404, none[1].replace("team-z", THEIRS))
    trial, missing = access.theirs[1].name, "tune-zzzzzzzz"
    theirs = await access.call(access.tokens["reader"], "GET", f"/v1/trials/{trial}")
    nobody = await access.call(access.tokens["reader"], "GET", f"/v1/trials/{missing}")
    assert theirs == (404, nobody[1].replace(missing, trial))


async def test_lists_hold_what_the_caller_may_see(access: AccessWorld) -> None:
    uid = access.theirs[0].id
    lists = [call for call in calls(access, OURS) if call.is_read and not call.names_tenant]
    lists = [call for call in lists if call.route not in OPEN | ADMINS | COMMON]
    assert len(lists) >= 8
    secrets = (THEIRS, access.theirs[1].name, uid)
    for call in lists:
        for query in ("", f"?uid={uid}", "?limit=500", f"?fieldSelector=metadata.name={uid}"):
            status, text = await access.call(
                access.tokens["reader"], "GET", call.path + query, headers={}
            )
            found = [secret for secret in secrets if secret in text.replace(query, "")]
            if status == 200:
                assert found == [], f"{call}{query}"
            else:
                assert status in (400, 404), f"{call}{query}: {text}"
        status, text = await access.call(access.tokens["reader"], "GET", call.path)
        assert status == 200
        assert OURS in text or "persistentvolumeclaims" in call.path, call
    shown = await access.call(access.tokens["reader"], "GET", f"/v1/trials?uid={uid}")
    assert shown[0] == 404
    shown = await access.call(access.tokens["reader"], "GET", f"/v1/experiments?namespace={THEIRS}")
    assert shown[0] == 404


async def test_admins_of_all_namespaces_see_all(access: AccessWorld) -> None:
    for token in (access.tokens["admin"], access.issuer.token(role="admin", namespaces="*")):
        for path in ("/v1/experiments", "/api/v1/pods", "/apis/kubeflow.org/v1beta1/trials"):
            status, text = await access.call(token, "GET", path)
            assert status == 200
            assert OURS in text
            assert THEIRS in text
        assert (await access.call(token, "GET", "/metrics"))[0] == 200


# Roles --------------------------------------------------------------------------------------------


def _own(access: AccessWorld) -> list[Call]:
    return [call for call in calls(access, OURS) if call.route not in OPEN | ADMINS | COMMON]


async def test_a_reader_reads_and_does_no_more(access: AccessWorld) -> None:
    reader, before = access.tokens["reader"], await snapshot(access)
    reads = [call for call in _own(access) if call.is_read]
    writes = [call for call in _own(access) if not call.is_read]
    assert len(writes) >= 30
    assert await told(access, reader, writes, 403) == []
    assert await snapshot(access) == before
    assert await told(access, reader, reads, 200, 404, 503) == []


async def test_a_worker_works_and_sees_nothing(access: AccessWorld) -> None:
    worker, before = access.tokens["worker"], await snapshot(access)
    other = [call for call in _own(access) if not call.is_work]
    assert await told(access, worker, other, 403) == []
    assert await snapshot(access) == before
    work = [call for call in _own(access) if call.is_work]
    # Their bodies are wrong, or nobody answers: they were let in.
    assert await told(access, worker, work, 200, 400, 404, 422, 503) == []


async def test_a_writer_may_do_all_in_its_namespace_and_nothing_with_the_installation(
    access: AccessWorld,
) -> None:
    reads = [call for call in _own(access) if call.is_read]
    assert await told(access, access.tokens["writer"], reads, 200, 404, 503) == []
    others = [call for call in calls(access, OURS) if call.route in ADMINS]
    assert {call.route for call in others} <= ADMINS
    assert await told(access, access.tokens["writer"], others, 403) == []
    path = f"/v1/namespaces/{OURS}/experiments/another"
    status, text = await access.call(
        access.tokens["writer"], "PUT", path, json={"object": katib("another", OURS)}
    )
    assert status == 201, text


async def test_nobody_writes_into_another_namespace_by_the_words_of_a_body(
    access: AccessWorld,
) -> None:
    """Mass assignment: what a body says of namespace, owner or identity opens nothing."""
    writer, before = access.tokens["writer"], await snapshot(access)
    path = f"/v1/namespaces/{OURS}/experiments/sneak"
    listed = f"/apis/kubeflow.org/v1beta1/namespaces/{OURS}/experiments"
    bodies: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", path, {"object": katib("sneak", THEIRS)}),
        ("PUT", path, {"object": katib("sneak", OURS), "namespace": THEIRS}),
        ("PUT", path, {"object": katib("sneak", OURS), "role": "admin"}),
        ("PUT", path, {"object": katib("sneak", OURS), "uid": access.theirs[0].id}),
        ("POST", listed, katib("sneak", THEIRS)),
    ]
    for method, where, body in bodies:
        status, text = await access.call(writer, method, where, json=body)
        assert status in (400, 404, 409, 422), f"{body}: {status} {text}"
    batch = [
        {
            "specversion": "1.0",
            "id": f"b-{verb}",
            "source": "/tests",
            "type": f"io.trialbus.experiment.{verb}.v1",
            "subject": f"{THEIRS}/tune",
            **({"data": katib("tune", THEIRS)} if verb in ("create", "apply") else {}),
            **({"data": {"maxTrialCount": 50}} if verb == "edit" else {}),
        }
        for verb in ("create", "apply", "edit", "suspend", "resume", "stop", "delete")
    ]
    answer = await access.world.client.post(
        "/v1/events",
        json=batch,
        headers={
            "authorization": f"Bearer {writer}",
            "content-type": "application/cloudevents-batch+json",
        },
    )
    assert answer.status_code == 207, answer.text
    assert [each["status"] for each in answer.json()["events"]] == [404] * len(batch)
    assert await snapshot(access) == before


# Trials' own tokens -------------------------------------------------------------------------------


async def test_a_trials_token_is_good_for_that_trial_until_it_ends(access: AccessWorld) -> None:
    token, (_, trial) = access.trial_token(), access.ours
    for part in ("", "/metrics", "/explain"):
        assert (await access.call(token, "GET", f"/v1/trials/{trial.name}{part}"))[0] == 200
    elsewhere = [
        call
        for call in calls(access, OURS)
        if call.route not in OPEN | COMMON | {"/v1/events"} and "{trial}" not in call.route
    ]
    not_reports = [call for call in elsewhere if not call.route.endswith("/report")]
    assert len(not_reports) >= 40
    assert await told(access, token, not_reports, 403) == []
    status, _ = await access.call(token, "GET", f"/v1/trials/{access.theirs[1].name}")
    assert status == 404
    await access.end_our_run()
    assert (await access.call(token, "GET", f"/v1/trials/{trial.name}"))[0] == 401


async def test_a_trials_token_reports_of_that_trial_only(access: AccessWorld) -> None:
    token, (state, trial) = access.trial_token(), access.ours
    path = f"/v1/namespaces/{OURS}/experiments/{state.name}/report"

    def reports(*of: tuple[str, int]) -> dict[str, Any]:
        made = [{"trial": it, "attempt": attempt, "metrics": {"loss": 1}} for it, attempt in of]
        return {"reports": made}

    wrong = [
        reports((access.theirs[1].name, 1)),
        reports(("tune-other000", 1)),
        reports((trial.name, 2)),
        reports((trial.name, 1), (access.theirs[1].name, 1)),
    ]
    for body in wrong:
        status, text = await access.call(token, "POST", path, json=body)
        assert status == 404, text
    # Its own is let through; that nobody answers here is another matter.
    status, text = await access.call(token, "POST", path, json=reports((trial.name, 1)))
    assert status not in (401, 403, 404), text
    other = path.replace("/tune/", "/another/")
    assert (await access.call(token, "POST", other, json=reports((trial.name, 1))))[0] == 404
