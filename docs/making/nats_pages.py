"""Who may say and hear what on the bus, as a table: out of the permissions that servers get."""

import re
from collections.abc import Iterator, Sequence

from making.page_parts import table
from trialbus.contracts.nats_identities import Identity, Role, outside, permissions_of, services

_NUMBER = re.compile(r"-\d\d(?=\.|$)")
_EXAMPLES = (
    outside(Role.PIPELINE, "nightly", ["team-a"]),
    outside(Role.WORKER, "gpu", ["team-a"]),
    outside(Role.TRIAL, "remote", ["team-a/digits/digits-7xkq2v9w"]),
)


def permissions_table() -> str:
    rows = [_row(identity) for identity in (*services(), *_EXAMPLES)]
    return table(["identity", "may publish", "but not", "may subscribe"], rows)


def _row(identity: Identity) -> Sequence[str]:
    permissions = permissions_of(identity)
    scopes = ", ".join(identity.scopes)
    name = f"`{identity.name}`" + (f", {identity.role.value} of `{scopes}`" if scopes else "")
    lists = (permissions.publish, permissions.deny_publish, permissions.subscribe)
    return [name, *(" ".join(_shown(patterns)) for patterns in lists)]


def _shown(patterns: Sequence[str]) -> Iterator[str]:
    """Durables of all partitions as one."""
    for pattern in dict.fromkeys(_NUMBER.sub("-NN", it) for it in patterns):
        subject, _, queue = pattern.partition(" ")
        yield f"`{subject}`" + (f" (as one of `{queue}`)" if queue else "")
