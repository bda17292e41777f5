"""Answers of a Kubernetes API server as errors: by what the caller must do."""

import json
from typing import Any

import pytest

from trialbus.adapters.kubernetes_api.statuses import error_of, error_of_status
from trialbus.kernel.errors import Transient
from trialbus.ports.cluster import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NoSuchKind,
    NotFound,
)


def status(code: int, reason: str, message: str = "text", **more: Any) -> bytes:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
    return json.dumps({**body, "reason": reason, "message": message, **more}).encode()


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", Invalid),
        (401, "Unauthorized", Forbidden),
        (403, "Forbidden", Forbidden),
        (404, "NotFound", NotFound),
        (405, "MethodNotAllowed", Invalid),
        (408, "Timeout", Transient),
        (409, "AlreadyExists", AlreadyExists),
        (409, "Conflict", Conflict),
        (410, "Expired", Gone),
        (413, "RequestEntityTooLarge", Invalid),
        (415, "UnsupportedMediaType", Invalid),
        (422, "Invalid", Invalid),
        (429, "TooManyRequests", Transient),
        (500, "InternalError", Transient),
        (503, "ServiceUnavailable", Transient),
        (504, "Timeout", Transient),
        (302, "", Transient),
    ],
)
def test_each_status_is_one_error(code: int, reason: str, expected: type[Exception]) -> None:
    error = error_of(code, status(code, reason), creating=False)
    assert type(error) is expected
    assert "text" in str(error)
    assert getattr(error, "reason", reason) == reason


def test_a_creation_that_met_a_changed_quota_may_be_repeated() -> None:
    told = status(409, "Conflict", "Operation cannot be fulfilled on resourcequotas")
    assert type(error_of(409, told, creating=True)) is Transient


def test_a_path_that_is_not_served_means_that_the_kind_has_gone() -> None:
    missing = status(404, "NotFound", "the server could not find the requested resource")
    assert type(error_of(404, missing, creating=False)) is NoSuchKind
    assert type(error_of(404, b"404 page not found\n", creating=False)) is NoSuchKind
    namespace = status(404, "NotFound", 'namespaces "a" not found', details={"name": "a"})
    assert type(error_of(404, namespace, creating=True)) is NotFound


def test_the_fields_that_are_wrong_are_told() -> None:
    causes = [{"reason": "FieldValueInvalid", "field": "spec.x", "message": "must be 1"}]
    error = error_of(422, status(422, "Invalid", details={"causes": causes}), creating=True)
    assert isinstance(error, Invalid)
    assert error.causes == (("spec.x", "must be 1"),)


def test_plain_text_of_a_proxy_is_shown_in_short() -> None:
    error = error_of(502, b"<html>bad gateway</html>" * 100, creating=False)
    assert type(error) is Transient
    assert "bad gateway" in str(error)
    assert len(str(error)) < 600


def test_an_error_event_of_a_watch_is_the_same_error() -> None:
    event = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
    assert type(error_of_status(410, event)) is Gone
