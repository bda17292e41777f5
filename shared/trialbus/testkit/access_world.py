"""A gateway that asks for tokens, with every kind of them, good and bad; two tenants live there."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from trialbus.contracts.collections import RUNS
from trialbus.contracts.documents import RUN
from trialbus.contracts.token_file import StaticToken, hash_of, write_tokens
from trialbus.contracts.trial_tokens import trial_token
from trialbus.kernel.access import Role, TrialGrant
from trialbus.kernel.experiment import Experiment
from trialbus.kernel.run import RunPhase
from trialbus.kernel.trial import Trial
from trialbus.ports.store import Write
from trialbus.runtime.parts import Parts
from trialbus.testkit.gateway_world import World, gateway_world, run_of, running_trial
from trialbus_gateway.adapters.access.door import Door
from trialbus_gateway.adapters.access.json_web_keys import JsonWebKeys
from trialbus_gateway.adapters.access.oidc import Oidc, OidcSettings
from trialbus_gateway.adapters.access.static_tokens import StaticTokens
from trialbus_gateway.adapters.access.token_review import TokenReviews
from trialbus_gateway.adapters.access.trial_bearers import TrialBearers
from trialbus_gateway.app.documents import Documents
from trialbus_gateway.app.guarded_ports import guarded

ISSUER, AUDIENCE = "https://login.example", "trialbus"
OURS, THEIRS = "team-a", "team-b"
TRIAL_KEY = b"k" * 64
_YEAR_S = 365 * 86400.0


class StepClock:
    """Goes when it is told to. It begins now: tokens of issuers are judged by the real time."""

    def __init__(self) -> None:
        self._now = round(time.time(), 3)
        self._passed = 0.0

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._passed

    async def sleep(self, delay_s: float) -> None:
        self.advance(delay_s)

    def advance(self, seconds: float) -> None:
        self._now += seconds
        self._passed += seconds

    def set_now(self, now: float) -> None:
        self._now = now


@cache
def _rsa_key(whose: str) -> rsa.RSAPrivateKey:
    """The same in all tests: making one takes a while."""
    del whose
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


class Issuer:
    """An OIDC provider: one RSA and one EC key, and whatever tokens are asked of it."""

    def __init__(self) -> None:
        self.rsa = _rsa_key("issuer")
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.stranger = _rsa_key("stranger")
        self.fetched = 0

    def jwks(self) -> bytes:
        rsa_key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key()))
        ec_key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.ec.public_key()))
        keys = [
            {**rsa_key, "kid": "r1", "use": "sig", "alg": "RS256"},
            {**ec_key, "kid": "e1", "use": "sig"},
            {"kty": "oct", "kid": "h1", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw"},
        ]
        return json.dumps({"keys": keys}).encode()

    async def fetch(self) -> bytes:
        self.fetched += 1
        return self.jwks()

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = int(time.time())
        made = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "ann",
            "iat": now,
            "exp": now + 600,
            "namespaces": [OURS],
            "role": "writer",
            **changes,
        }
        return {name: value for name, value in made.items() if value is not None}

    def token(self, headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
        """RS256 by the known key. headers: more of them, or others."""
        told = {"kid": "r1", **(headers or {})}
        return jwt.encode(self.claims(**changes), self.rsa, "RS256", headers=told)

    def ec_token(self, **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), self.ec, "ES256", headers={"kid": "e1"})

    def by_a_stranger(self, headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
        told = {"kid": "r1", **(headers or {})}
        return jwt.encode(self.claims(**changes), self.stranger, "RS256", headers=told)

    def unsigned(self) -> str:
        return jwt.encode(self.claims(), "", "none", headers={"kid": "r1"})

    def with_the_public_key(self) -> str:
        """HS256 with the RSA key's public half as the secret: what everybody could make."""
        secret = self.rsa.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        head = _part({"alg": "HS256", "typ": "JWT", "kid": "r1"})
        said = f"{head}.{_part(self.claims())}"
        seal = hmac.new(secret, said.encode(), hashlib.sha256).digest()
        return f"{said}.{_text(seal)}"


def _part(content: Mapping[str, Any]) -> str:
    return _text(json.dumps(content).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass
class AccessWorld:
    """tokens: of static tokens, by who they are. ours, theirs: a running trial of each tenant."""

    world: World
    issuer: Issuer
    tokens: Mapping[str, str]
    tokens_file: Path
    door: Door
    reviewed: list[str]
    ours: tuple[Experiment, Trial]
    theirs: tuple[Experiment, Trial]

    async def call(self, token: str | None, method: str, path: str, **more: Any) -> tuple[int, str]:
        """Status and text; a token None is none at all."""
        headers = dict(more.pop("headers", {}))
        headers["authorization"] = f"Bearer {token}"
        if token is None:
            del headers["authorization"]
        client = self.world.client
        client.headers.pop("authorization", None)
        answer = await client.request(method, path, headers=headers, **more)
        return answer.status_code, answer.text

    async def find_trial(self, name: str) -> object:
        """As the caller sees it."""
        return await Documents(guarded(self.world.parts).store).trial(name)

    def trial_token(self, *, key: bytes = TRIAL_KEY, **changes: Any) -> str:
        state, trial = self.ours
        grant = TrialGrant(
            namespace=state.namespace,
            experiment=state.name,
            uid=state.id,
            trial=trial.name,
            index=trial.index,
            attempt=1,
        )
        return trial_token(replace(grant, **changes), key)

    async def end_our_run(self) -> None:
        before = run_of(self.ours[0], 0)
        after = replace(before, version=2, phase=RunPhase.FINISHED, exit_code=0)
        write = Write(base=RUN.encode(before), document=RUN.encode(after))
        await self.world.store.client("tests").commit(RUNS.name, [write])


def static(
    name: str, token: str, role: Role, *namespaces: str, ends_in_s: float = _YEAR_S
) -> StaticToken:
    return StaticToken(
        name=name,
        sha256=hash_of(token),
        role=role,
        namespaces="*" if "*" in namespaces else namespaces,
        expires=datetime.fromtimestamp(int(time.time() + ends_in_s), tz=UTC),
    )


@asynccontextmanager
async def access_world(
    folder: Path, *, rate: float = 0.0, streams: int = 0
) -> AsyncIterator[AccessWorld]:
    issuer, reviewed = Issuer(), list[str]()
    tokens = {role: f"tbs_{role}-{'x' * 30}" for role in ("reader", "writer", "worker", "admin")}
    tokens |= {"expired": f"tbs_expired-{'x' * 30}", "them": f"tbs_them-{'x' * 30}"}
    file = folder / "tokens.yaml"
    entries = [static(it, tokens[it], Role(it), OURS) for it in ("reader", "writer", "worker")]
    entries += [
        static("admin", tokens["admin"], Role.ADMIN, "*"),
        static("expired", tokens["expired"], Role.ADMIN, "*", ends_in_s=-1),
        static("them", tokens["them"], Role.WRITER, THEIRS),
    ]
    file.write_bytes(write_tokens(entries))

    async def review(token: str) -> dict[str, Any]:
        reviewed.append(token)
        user = {"username": f"system:serviceaccount:{OURS}:builder"}
        audiences = [AUDIENCE] if token == "sa-good" else ["https://kubernetes.default.svc"]
        return {"authenticated": token.startswith("sa-"), "user": user, "audiences": audiences}

    doors = list[Door]()

    def door(parts: Parts) -> Door:
        wanted = OidcSettings(
            issuer=ISSUER, audience=AUDIENCE, namespaces_claim="namespaces", role_claim="role"
        )
        ways = (
            TrialBearers([TRIAL_KEY], parts.store),
            StaticTokens(file, parts.clock),
            Oidc(wanted, JsonWebKeys(issuer.fetch, parts.clock), parts.clock),
            TokenReviews(review, parts.clock, audience=AUDIENCE, role=Role.WRITER),
        )
        # Wrong tokens are what these tests are made of.
        doors.append(Door(parts.clock, ways, rate=rate, streams=streams, wrong_at_once=1e6))
        return doors[-1]

    async with gateway_world(folder, door) as world:
        world.client.headers["authorization"] = f"Bearer {tokens['admin']}"
        ours = await running_trial(world, namespace=OURS)
        theirs = await running_trial(world, namespace=THEIRS)
        del world.client.headers["authorization"]
        yield AccessWorld(
            world=world,
            issuer=issuer,
            tokens=tokens,
            tokens_file=file,
            door=doors[0],
            reviewed=reviewed,
            ours=ours,
            theirs=theirs,
        )
