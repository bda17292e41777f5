"""From the name of an algorithm to its code, which is imported on first use."""

from collections.abc import Iterable
from importlib import import_module
from typing import cast

from trialbus.kernel.catalogue import AlgorithmDescription
from trialbus.kernel.proposals import Study
from trialbus_suggestion.core.algorithm import Algorithm, Factory
from trialbus_suggestion.core.catalogue import BUILT_IN


class Registry:
    """The known algorithms by name; later descriptions replace earlier ones of the same name."""

    def __init__(self, descriptions: Iterable[AlgorithmDescription] = BUILT_IN) -> None:
        self._by_name = {description.name: description for description in descriptions}

    @property
    def descriptions(self) -> tuple[AlgorithmDescription, ...]:
        return tuple(self._by_name.values())

    def describe(self, name: str) -> AlgorithmDescription:
        """KeyError: there is no such algorithm."""
        return self._by_name[name]

    def create(self, study: Study) -> Algorithm:
        """A fresh instance, told nothing. KeyError: there is no such algorithm."""
        return self.load(study.algorithm.name)(study)

    def load(self, name: str) -> Factory:
        """Its code, imported. KeyError: there is no such algorithm; else what importing raises."""
        module, _, attribute = self.describe(name).implementation.partition(":")
        return cast(Factory, getattr(import_module(module), attribute))
