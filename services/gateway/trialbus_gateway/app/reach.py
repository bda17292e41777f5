"""Who is being answered just now, and how far that one reaches.

The identity is a context variable, set at the door for each call. What the gateway does by itself
runs outside of any call, as `ANYBODY`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context

from trialbus.kernel.access import Action
from trialbus_gateway.app.failures import Forbidden, NotThere
from trialbus_gateway.core.identities import ANYBODY, Identity

_identity: ContextVar[Identity] = ContextVar("identity", default=ANYBODY)


def current() -> Identity:
    return _identity.get()


@contextmanager
def acting_as(identity: Identity) -> Iterator[None]:
    token = _identity.set(identity)
    try:
        yield
    finally:
        _identity.reset(token)


def own_context() -> Context:
    """For a task that a call begins but that works for everybody."""
    context = copy_context()
    context.run(_identity.set, ANYBODY)
    return context


def demand(action: Action, namespace: str) -> None:
    """Raises NotThere where the caller may not even know what there is, Forbidden where only the
    role is too small."""
    identity = current()
    if not identity.sees(namespace):
        raise NotThere(f"there is no namespace {namespace}")
    demand_role(action)


def demand_role(action: Action) -> None:
    """Raises Forbidden."""
    identity = current()
    if not identity.may(action):
        raise Forbidden(f"the role {identity.role} may not {action}")
