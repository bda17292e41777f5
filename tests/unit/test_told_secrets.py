"""Secrets never reach a log, whoever writes it; what is no secret stays readable. Of spans:
`test_sdk_tracing`."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from trialbus.kernel.told_secrets import HIDDEN, clean_fields, clean_text

CANARY = "canary0123456789abcdef"
SEED = "SUAM" + "A2B3C4D5E6F7" * 4 + "GHIJKL"
WEB_TOKEN = f"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.{CANARY}"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        (f"Authorization: Bearer {CANARY}", f"Authorization: Bearer {HIDDEN}"),
        (f"sent bearer {CANARY}, got 401", f"sent bearer {HIDDEN}, got 401"),
        (f"{{'authorization': 'Basic {CANARY}=='}}", f"{{'authorization': 'Basic {HIDDEN}'}}"),
        (f"tbs_{CANARY} is unknown", f"tbs_{HIDDEN} is unknown"),
        (f"tbt_{CANARY}.{CANARY}", f"tbt_{HIDDEN}"),
        (f"whsec_{CANARY}=", f"whsec_{HIDDEN}"),
        (f"mongodb://me:{CANARY}@db:27017/x is away", f"mongodb://me:{HIDDEN}@db:27017/x is away"),
        (f"nats://{CANARY}@bus:4222", f"nats://{HIDDEN}@bus:4222"),
        (f"connect(user='me', password='{CANARY}')", f"connect(user='me', password='{HIDDEN}')"),
        (f"seed {SEED}!", f"seed {HIDDEN}!"),
        (f"claims of {WEB_TOKEN} are over", f"claims of {HIDDEN} are over"),
        (
            f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\nrest",
            f"{HIDDEN}\nrest",
        ),
    ],
)
def test_what_looks_like_a_secret_is_taken_out_of_a_text(text: str, cleaned: str) -> None:
    assert clean_text(text) == cleaned


@pytest.mark.parametrize(
    "text",
    [
        "mongodb://127.0.0.1:27017/?replicaSet=rs0 is away",
        "trial quick-start-hp7bcgnp of kubeflow/quick-start ended: exit code 1",
        "http://127.0.0.1:8080/v1/events?wait=60 answered 202 @ 10:00",
        "no such token file: /etc/trialbus/tokens.yaml",
        "the bearer of bad news",
        "eyJ is no token",
    ],
)
def test_what_is_none_stays_as_it_is(text: str) -> None:
    assert clean_text(text) == text


def test_fields_with_a_name_for_secrets_are_hidden_whatever_they_hold() -> None:
    fields: dict[str, Any] = {
        "event": "x",
        "token": CANARY,
        "mongo_password": CANARY,
        "client": {"api_key": 12345, "name": "me", "seed": [CANARY]},
        "secret_file": "/etc/secret",
        "attempts": 3,
        "authorization": None,
    }
    assert clean_fields(fields) == {
        "event": "x",
        "token": HIDDEN,
        "mongo_password": HIDDEN,
        "client": {"api_key": HIDDEN, "name": "me", "seed": HIDDEN},
        "secret_file": "/etc/secret",
        "attempts": 3,
        "authorization": None,
    }


@dataclass
class Told:
    url: str


def test_objects_and_lists_are_looked_into() -> None:
    url = f"mongodb://me:{CANARY}@db"
    fields = clean_fields({"error": ValueError(url), "at": [Told(url=url), (url,)]})
    assert CANARY not in json.dumps(fields)
    assert "mongodb://me" in fields["error"]


_PROGRAM = f"""
import logging, structlog
from trialbus.adapters.opentelemetry import open_tracing
from trialbus.local.service_logs import log_as_json

log_as_json("info")
url = "mongodb://me:{CANARY}@db"
log = structlog.get_logger()
log.info("plain", token="{CANARY}", name="control")
try:
    raise ValueError(url)
except ValueError:
    log.exception("ours")
    logging.getLogger("pymongo").exception("theirs %s", url)
tracing = open_tracing("gateway", endpoint="http://127.0.0.1:9", ratio=1.0)
with tracing.span("work", root=True):
    print(tracing.current().trace_id, tracing.current().span_id, flush=True)
    log.warning("within")
    logging.getLogger("asyncio").error("within, too")
    log.info("of another", trace_id="{"a" * 32}", span_id="{"b" * 16}")
tracing.close()
"""


def test_lines_of_ours_and_of_libraries_have_no_secrets_and_the_ids_of_their_span() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert CANARY not in done.stderr
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"].split(" ")[0] for line in lines[:5]] == [
        "plain",
        "ours",
        "theirs",
        "within",
        "within,",
    ]
    plain, ours, theirs, within, library, other = lines[:6]
    assert plain["name"] == "control"
    assert f"ValueError: mongodb://me:{HIDDEN}@db" in ours["exception"]
    assert f"ValueError: mongodb://me:{HIDDEN}@db" in theirs["exception"]
    assert "trace_id" not in plain
    ids = done.stdout.split()
    assert [within["trace_id"], within["span_id"]] == ids
    assert [library["trace_id"], library["span_id"]] == ids
    assert [other["trace_id"], other["span_id"]] == ["a" * 32, "b" * 16]
