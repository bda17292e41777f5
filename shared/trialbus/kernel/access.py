"""What bearers of tokens may do: roles, and the actions that each of them allows."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

# Instead of a list of namespaces: all of them.
EVERY_NAMESPACE = "*"


class Action(StrEnum):
    """READ: look at anything of one's namespaces. COMMAND: create, change, stop and delete
    experiments. WORK: ask, report, heartbeat, tell, release. REPORT: metrics of one's own trial.
    OPERATE: what is about the installation and no namespace."""

    READ = "read"
    COMMAND = "command"
    WORK = "work"
    REPORT = "report"
    OPERATE = "operate"


class Role(StrEnum):
    """TRIAL: one trial, whose own token says which; nobody is given this role otherwise."""

    READER = "reader"
    WRITER = "writer"
    WORKER = "worker"
    ADMIN = "admin"
    TRIAL = "trial"


# A writer could do by experiments of its own whatever a worker does.
ALLOWED: Mapping[Role, frozenset[Action]] = {
    Role.READER: frozenset({Action.READ}),
    Role.WRITER: frozenset({Action.READ, Action.COMMAND, Action.WORK, Action.REPORT}),
    Role.WORKER: frozenset({Action.WORK, Action.REPORT}),
    Role.ADMIN: frozenset(Action),
    Role.TRIAL: frozenset({Action.READ, Action.REPORT}),
}
# Those that a token can be made for, and a claim can name.
GIVEN_ROLES = tuple(role for role in Role if role is not Role.TRIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialGrant:
    """uid: of the experiment; index: 0-based, of the trial in it; trial: its name."""

    namespace: str
    experiment: str
    uid: str
    trial: str
    index: int
    attempt: int
