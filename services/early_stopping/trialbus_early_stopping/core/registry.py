"""From the name of a stopping rule to its code, which is imported on first use."""

from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import cast

from trialbus.kernel.catalogue import StoppingRuleDescription, read_settings
from trialbus.kernel.objective import ObjectiveType
from trialbus_early_stopping.core.catalogue import BUILT_IN
from trialbus_early_stopping.core.rule import Factory, StoppingRule


class Registry:
    """The known rules by name; later descriptions replace earlier ones of the same name."""

    def __init__(self, descriptions: Iterable[StoppingRuleDescription] = BUILT_IN) -> None:
        self._by_name = {description.name: description for description in descriptions}

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def describe(self, name: str) -> StoppingRuleDescription:
        """KeyError: there is no such rule."""
        return self._by_name[name]

    def create(
        self, name: str, settings: Sequence[tuple[str, str]], objective: ObjectiveType
    ) -> StoppingRule:
        """A fresh instance that knows no trial. settings: checked. KeyError: no such rule."""
        description = self.describe(name)
        module, _, attribute = description.implementation.partition(":")
        factory = cast(Factory, getattr(import_module(module), attribute))
        return factory(read_settings(description, settings), objective)
