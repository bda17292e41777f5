"""Commands as they travel: what the gateway (or any client of the bus) asks of an experiment.

Subject `trialbus.v1.cmd.<namespace>.<experiment>.<verb>`; the answer is a `CommandReply`, sent
after the commit. The sender repeats a command under the same id until it is answered; a repeat
has no second effect.
"""

import uuid
from enum import StrEnum
from typing import Any

from trialbus.contracts.envelope import Body

# The revision of a name that nothing has.
NOT_THERE = 0
_UIDS = uuid.UUID("5b1b8b5e-4d0c-5f7e-9a0f-1a2b3c4d5e6f")


class Verb(StrEnum):
    APPLY = "apply"
    SUSPEND = "suspend"
    RESUME = "resume"
    STOP = "stop"
    DELETE = "delete"
    EDIT = "edit"
    IMPORT = "import"


class Command(Body):
    """object: the Experiment object of an `apply`. working_dir: where its trials run unless
    their template says otherwise. uid: refuse the command if the experiment is another one.
    revision: refuse it if somebody has edited the experiment since; `NOT_THERE`: only create.
    exact: labels and annotations that the object lacks go (else they stay).
    managed_fields: Kubernetes' managedFields, to be kept with an exact object.
    dry_run: judge it completely and write nothing. keep_history: of a `delete`. edit: of an `edit`,
    budgets by their names in the object (`maxTrialCount`; `goal` of the objective) -> new values;
    None: none, as if it had not been given. portion: of an `import`, see `imports`.
    template: of an `apply` whose object only names its trial template: the text of that, from a
    sender who could look it up."""

    id: str
    object: dict[str, Any] | None = None
    working_dir: str | None = None
    uid: str | None = None
    revision: int | None = None
    exact: bool = False
    managed_fields: list[dict[str, Any]] | None = None
    dry_run: bool = False
    keep_history: bool = False
    edit: dict[str, Any] | None = None
    portion: dict[str, Any] | None = None
    template: str | None = None


def uid_made_by(command_id: str) -> str:
    """Of the experiment that a creating command makes: the same command creates the same one."""
    return str(uuid.uuid5(_UIDS, command_id))
