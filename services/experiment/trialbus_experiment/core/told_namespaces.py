"""Which namespaces have series of their own: users choose the names, and each is many series."""

from collections import Counter
from collections.abc import Iterable

from trialbus.kernel.limits import MAX_TOLD_NAMESPACES

# Of all further ones together; no namespace is called so.
OTHER = "_other"


class ToldNamespaces:
    """Of one process: the first that it sees, for as long as it lives."""

    def __init__(self) -> None:
        self._own: set[str] = set()

    def label(self, namespace: str) -> str:
        if namespace in self._own:
            return namespace
        if len(self._own) >= MAX_TOLD_NAMESPACES:
            return OTHER
        self._own.add(namespace)
        return namespace


def first_namespaces(namespaces: Iterable[str]) -> frozenset[str]:
    """Those that are told of what there is: the same in every replica."""
    return frozenset(sorted(set(namespaces))[:MAX_TOLD_NAMESPACES])


def folded(counts: Counter[tuple[str, ...]], own: frozenset[str]) -> Counter[tuple[str, ...]]:
    """counts: by namespace and more. All that are not among `own` become one."""
    told: Counter[tuple[str, ...]] = Counter()
    for (namespace, *more), count in counts.items():
        told[namespace if namespace in own else OTHER, *more] += count
    return told
