"""Page tokens of the gateway: what a token says comes back, and nothing else is taken."""

import base64
import math

import pytest

from trialbus.testkit.gateway_documents import UID
from trialbus_gateway.core.pages import Place, decode_place, encode_place


@pytest.mark.parametrize(
    "place",
    [
        Place(created_at=1732212345.678, uid=UID),
        Place(created_at=0.1 + 0.2, uid=UID, index=0),
        Place(created_at=1.0, uid=UID, index=9999),
        Place(created_at=1.0, uid=UID, index=3, sort="value", section=0, key=0.1 + 0.2),
        Place(created_at=1.0, uid=UID, index=3, sort="-value", section=0, key=-math.inf),
        Place(created_at=1.0, uid=UID, index=3, sort="finished", section=1),
    ],
)
def test_a_page_token_brings_back_its_place(place: Place) -> None:
    assert decode_place(encode_place(place)) == place


def token_of(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "é",
        "A" * 300,
        token_of("null"),
        token_of("[1, 2, 3]"),
        token_of('[1.0, "", null]'),
        token_of('[NaN, "u", null]'),
        token_of('[1e999, "u", null]'),
        token_of('[1.0, "u", -1]'),
        token_of('[1.0, "u", 99999999999999999999]'),
        token_of("[" * 150),
        # Half a character: no store takes it.
        token_of('[1.0, "\\ud800", 1]'),
        token_of('[1.0, "u\\u0000", 1]'),
        token_of('[1.0, "u", null, "value", 0, 1.0]'),
        token_of('[1.0, "u", 1, "value", 0, NaN]'),
        token_of('[1.0, "u", 1, "value", 99, 1.0]'),
        token_of('[1.0, "u", 1, "", 0, 1.0]'),
    ],
)
def test_what_is_no_page_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="not a token"):
        decode_place(token)
