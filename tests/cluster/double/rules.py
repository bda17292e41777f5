"""x-kubernetes-validations: rules in CEL, as far as the double evaluates them."""

from typing import Any

from tests.cluster.double.errors import Cause
from tests.cluster.double.schemas import Node

Object = dict[str, Any]


def broken_rules(node: Node, new: Any, old: Any) -> list[Cause]:
    return []
