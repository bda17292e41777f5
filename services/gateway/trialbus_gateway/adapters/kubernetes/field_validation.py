"""Fields that the schema does not know: refused, warned of or dropped, as the request asks."""

from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import ValidationError

from trialbus.contracts.katib.models import ExperimentObject
from trialbus.contracts.katib.shape import meant_field
from trialbus_gateway.adapters.kubernetes.status_objects import bad_request, strict_decoding

Object = dict[str, Any]

# As many as people read; kubectl prints each on a line of its own.
_MAX_TOLD = 50


class FieldValidation(StrEnum):
    """WARN is the API server's default."""

    STRICT = "Strict"
    WARN = "Warn"
    IGNORE = "Ignore"

    @classmethod
    def parse(cls, text: str | None) -> "FieldValidation":
        """Raises StatusFailure."""
        try:
            return cls(text or cls.WARN)
        except ValueError as error:
            known = ", ".join(cls)
            raise bad_request(
                f'invalid fieldValidation "{text!s:.100}": one of {known} is needed'
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """object: without the fields that nobody knows. warnings: of those."""

    object: Object
    warnings: tuple[str, ...] = ()


def known_fields(obj: Object, validation: FieldValidation) -> Known:
    """Raises StatusFailure for unknown fields when they are not to be borne."""
    rest = {name: value for name, value in obj.items() if name != "status"}
    unknown = _unknown(rest)
    if not unknown:
        return Known(object=obj)
    told = tuple(_told(location) for location in unknown[:_MAX_TOLD])
    if validation is FieldValidation.STRICT:
        raise strict_decoding(told)
    pruned = deepcopy(obj)
    for location in unknown:
        _take_out(pruned, location)
    return Known(object=pruned, warnings=told if validation is FieldValidation.WARN else ())


def _unknown(obj: Object) -> list[tuple[int | str, ...]]:
    try:
        ExperimentObject.model_validate(obj)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        return [it["loc"] for it in found if it["type"] == "extra_forbidden"]
    return []


def _told(location: tuple[int | str, ...]) -> str:
    """In Kubernetes' words, and what was meant."""
    meant = meant_field(location)
    hint = "" if meant is None else f" (did you mean {meant}?)"
    return f'unknown field "{_path(location)}"{hint}'


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part!s:.100}"
    return text.removeprefix(".")


def _take_out(obj: Any, location: tuple[int | str, ...]) -> None:
    *parents, last = location
    try:
        for part in parents:
            obj = obj[part]
        del obj[last]
    except (KeyError, IndexError, TypeError):
        return  # taken out already, with what it stood in
