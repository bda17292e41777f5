"""Status objects say what the API server says, in its words."""

import json

import pytest

from trialbus.kernel.errors import Problem, Refused, Transient
from trialbus_gateway.adapters.kubernetes import status_objects as statuses
from trialbus_gateway.adapters.kubernetes.status_objects import Cause, StatusFailure, Target
from trialbus_gateway.app.failures import AnotherByNow, NotThere, TooLarge, Unreadable

X = Target(resource="experiments", name="x", kind="Experiment")


def test_a_missing_object_is_told_as_the_api_server_tells_it() -> None:
    # The shape of apimachinery's NewNotFound for a custom resource.
    assert statuses.not_found(X).to_json() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'experiments.kubeflow.org "x" not found',
        "reason": "NotFound",
        "details": {"name": "x", "group": "kubeflow.org", "kind": "experiments"},
        "code": 404,
    }


@pytest.mark.parametrize(
    ("failure", "code", "reason", "message"),
    [
        (statuses.bad_request("no"), 400, "BadRequest", "no"),
        (
            statuses.forbidden(X, "read-only"),
            403,
            "Forbidden",
            'experiments.kubeflow.org "x" is forbidden: read-only',
        ),
        (
            statuses.method_not_allowed(X, "create"),
            405,
            "MethodNotAllowed",
            'create is not supported on resources of kind "experiments.kubeflow.org"',
        ),
        (
            statuses.not_acceptable(["application/json"]),
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json",
        ),
        (
            statuses.already_exists(X),
            409,
            "AlreadyExists",
            'experiments.kubeflow.org "x" already exists',
        ),
        (
            statuses.conflict(X),
            409,
            "Conflict",
            'Operation cannot be fulfilled on experiments.kubeflow.org "x": the object has been '
            "modified; please apply your changes to the latest version and try again",
        ),
        (statuses.expired("too old"), 410, "Expired", "too old"),
        (
            statuses.too_large("limit is 1"),
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 1",
        ),
        (
            statuses.unsupported_media_type(["a/b", "c/d"]),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
            "a/b, c/d",
        ),
        (
            statuses.internal_error("boom"),
            500,
            "InternalError",
            "Internal error occurred: boom",
        ),
        (statuses.unavailable("away"), 503, "ServiceUnavailable", "away"),
    ],
)
def test_each_failure_has_its_code_reason_and_words(
    failure: StatusFailure, code: int, reason: str, message: str
) -> None:
    response = failure.response()
    shown = json.loads(bytes(response.body))
    assert response.status_code == code
    assert (shown["code"], shown["reason"], shown["message"]) == (code, reason, message)


def test_an_invalid_object_tells_every_cause_with_its_field() -> None:
    problems = [
        Problem(field="spec.objective", message="must be specified"),
        Problem(field="spec.maxTrialCount", message="-1: must be greater than 0"),
    ]
    shown = statuses.failure_of(Refused(problems), X).to_json()
    assert shown["code"] == 422
    assert shown["reason"] == "Invalid"
    assert shown["message"] == (
        'Experiment.kubeflow.org "x" is invalid: '
        "[spec.objective: Required value: must be specified, "
        "spec.maxTrialCount: Invalid value: -1: must be greater than 0]"
    )
    assert shown["details"] == {
        "name": "x",
        "group": "kubeflow.org",
        "kind": "Experiment",
        "causes": [
            {
                "reason": "FieldValueRequired",
                "message": "Required value: must be specified",
                "field": "spec.objective",
            },
            {
                "reason": "FieldValueInvalid",
                "message": "Invalid value: -1: must be greater than 0",
                "field": "spec.maxTrialCount",
            },
        ],
    }


def test_one_cause_stands_without_brackets() -> None:
    cause = Cause(reason="FieldValueForbidden", message="Forbidden: no", field="spec")
    message = statuses.invalid(X, [cause]).message
    assert message == 'Experiment.kubeflow.org "x" is invalid: spec: Forbidden: no'


def test_a_server_that_is_away_says_when_to_come_again() -> None:
    response = statuses.failure_of(Transient("store"), X).response()
    assert response.headers["retry-after"] == "1"
    assert json.loads(bytes(response.body))["details"] == {"retryAfterSeconds": 1}


def test_conflicts_of_an_apply_name_managers_and_fields() -> None:
    cause = Cause(
        reason="FieldManagerConflict",
        message='conflict with "kubectl-edit" using kubeflow.org/v1beta1',
        field=".spec.maxTrialCount",
    )
    shown = statuses.apply_conflict([cause]).to_json()
    assert shown["message"] == (
        'Apply failed with 1 conflict: conflict with "kubectl-edit" using kubeflow.org/v1beta1: '
        ".spec.maxTrialCount"
    )
    assert shown["details"]["causes"][0]["reason"] == "FieldManagerConflict"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotThere("x"), 404),
        (AnotherByNow("x"), 409),
        (TooLarge("x"), 413),
        (Unreadable("x"), 400),
        (RuntimeError("x"), 500),
        (statuses.expired("x"), 410),
    ],
)
def test_what_the_gateway_fails_with_has_its_code(error: Exception, code: int) -> None:
    assert statuses.failure_of(error, X).code == code


def test_a_deletion_that_left_nothing_is_a_success_with_the_uid() -> None:
    shown = statuses.success(X, uid="u-1")
    assert shown["status"] == "Success"
    assert shown["details"] == {
        "name": "x",
        "group": "kubeflow.org",
        "kind": "experiments",
        "uid": "u-1",
    }
