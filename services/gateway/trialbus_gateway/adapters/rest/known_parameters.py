"""Parameters that several operations share."""

from starlette.requests import Request

from trialbus.kernel.limits import MAX_PAGE_ITEMS
from trialbus_gateway.adapters.bodies import MAX_ID_CHARS
from trialbus_gateway.adapters.rest.parameters import (
    NAME_SCHEMA_PATTERN,
    Flag,
    Text,
    Whole,
    name_in_path,
)
from trialbus_gateway.app.listing import DEFAULT_PAGE_ITEMS, PageRequest
from trialbus_gateway.core.pages import MAX_TOKEN_CHARS

EXPERIMENT_PATH = "/v1/namespaces/{namespace}/experiments/{name}"

# What the examples speak of. The trial's name follows from the experiment's uid.
EXAMPLE_NAMESPACE, EXAMPLE_EXPERIMENT = "lab", "tune"
EXAMPLE_UID = "0b7c2f0e-8a52-5c0f-9c50-111111111111"
EXAMPLE_TRIAL = "tune-b7bs7xfp"

NAMESPACE = name_in_path("namespace", "The namespace.", EXAMPLE_NAMESPACE)
NAME = name_in_path("name", "The experiment's name.", EXAMPLE_EXPERIMENT)
TRIAL = name_in_path("trial", "The trial's name: it is unique over namespaces.", EXAMPLE_TRIAL)
EXPERIMENT = (NAMESPACE, NAME)

WITHIN = Text(
    name="namespace",
    about="Only of this namespace.",
    least_chars=1,
    most_chars=63,
    pattern=NAME_SCHEMA_PATTERN,
)
LIMIT = Whole(
    name="limit",
    about="At most so many items; a page may hold fewer, `next` says whether more follow.",
    least=1,
    most=MAX_PAGE_ITEMS,
    default=DEFAULT_PAGE_ITEMS,
)
AFTER = Text(
    name="after",
    about="`next` of the page before; it stays good while objects come and go.",
    most_chars=MAX_TOKEN_CHARS,
)
PAGE = (LIMIT, AFTER)
FOLLOW = Flag(name="follow", about="Goes on with what comes, until it has ended.")

_ID_PATTERN = "^[!-~]+$"
COMMAND_ID = Text(
    name="id",
    about="Names the command: the same id sent twice is accepted once.",
    least_chars=1,
    most_chars=MAX_ID_CHARS,
    pattern=_ID_PATTERN,
)
UID = Text(
    name="uid",
    about="Only if the name belongs to the experiment with this uid, else 409.",
    least_chars=1,
    most_chars=MAX_ID_CHARS,
    pattern=_ID_PATTERN,
)
COMMAND = (COMMAND_ID, UID)


def experiment_of(request: Request) -> tuple[str, str]:
    """Namespace and name, as they stand in the path."""
    return request.path_params["namespace"], request.path_params["name"]


def trial_of(request: Request) -> str:
    return str(request.path_params["trial"])


def page_of(request: Request) -> PageRequest:
    """Raises Unreadable."""
    return PageRequest.parse(LIMIT.text(request), AFTER.text(request))
