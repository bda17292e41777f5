"""Which metrics a tag of an event file is, as Katib has it, without its accidents.

A metric is the tag of its very name in any file. `test/accuracy` is also the tag `accuracy` in
files of a folder `test`. Only for a metric of which there is no such tag a longer one counts that
begins with its name (`accuracy_1`, as TensorFlow renames duplicates): the shortest of them, then
the first in the alphabet. Katib takes all of those at once, and `latest` for a folder `test`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TagMetrics:
    """Of one tag in one folder. exact: metrics that it is. maybe: those that it is if there is no
    exact tag of theirs."""

    exact: tuple[str, ...] = ()
    maybe: tuple[str, ...] = ()


def metrics_of(tag: str, folder: Sequence[str], wanted: Collection[str]) -> TagMetrics:
    """folder: the names of the folders on the path to the file."""
    exact = tuple(metric for metric in wanted if _is(metric, tag, folder))
    maybe = tuple(
        metric for metric in wanted if metric not in exact and _begins(metric, tag, folder)
    )
    return TagMetrics(exact=exact, maybe=maybe)


def best(tags: Collection[str]) -> str:
    """The one to take of those that begin with a metric's name."""
    return min(tags, key=lambda tag: (len(tag), tag))


def _is(metric: str, tag: str, folder: Sequence[str]) -> bool:
    *folders, name = metric.split("/")
    return tag == metric or (tag == name and _lies_in(folder, folders))


def _begins(metric: str, tag: str, folder: Sequence[str]) -> bool:
    *folders, name = metric.split("/")
    return bool(name) and (
        tag.startswith(metric) or (tag.startswith(name) and _lies_in(folder, folders))
    )


def _lies_in(folder: Sequence[str], last: Sequence[str]) -> bool:
    return not last or tuple(folder[-len(last) :]) == tuple(last)
