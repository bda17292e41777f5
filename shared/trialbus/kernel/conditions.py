"""Conditions as Katib shows them: the last one changed is the state that people see."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    type: str
    status: bool
    reason: str
    message: str
    updated_at: float
    transitioned_at: float


Conditions = tuple[Condition, ...]


def set_condition(
    conditions: Conditions,
    type_: str,
    *,
    status: bool = True,
    reason: str,
    message: str,
    now: float,
) -> Conditions:
    """The condition of this type, changed and moved to the end.

    Nothing happens when status and reason are what they were; the time of transition moves only
    with the status.
    """
    old = next((condition for condition in conditions if condition.type == type_), None)
    if old is not None and (old.status, old.reason) == (status, reason):
        return conditions
    kept = old is not None and old.status == status
    new = Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        updated_at=now,
        transitioned_at=old.transitioned_at if kept and old is not None else now,
    )
    return (*(condition for condition in conditions if condition.type != type_), new)


def drop_conditions(conditions: Conditions, *types: str) -> Conditions:
    return tuple(condition for condition in conditions if condition.type not in types)
