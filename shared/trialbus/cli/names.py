"""Which experiment or trial is meant by a name, which may be written NAMESPACE/NAME."""

import re

from trialbus.cli.api import Api, experiment_path, path_of
from trialbus.cli.failures import REFUSED, CommandFailed, NotFound

DEFAULT_NAMESPACE = "default"
# `<experiment>-` and 8 characters from uid and index.
_LIKE_A_TRIAL = re.compile(r".+-[a-z0-9]{8}")


def split_name(written: str, given: str | None) -> tuple[str | None, str]:
    """The namespace, as the name or `-n` says it, None where neither does; and the name alone.
    Raises CommandFailed when the two say different ones."""
    place, slash, name = written.rpartition("/")
    if not slash:
        return given, written
    if not place or not name or "/" in place:
        raise CommandFailed(f"{written} is no name: NAME, or NAMESPACE/NAME", REFUSED)
    if given not in (None, place):
        raise CommandFailed(
            f"{written} is in the namespace {place}, but -n says {given}: give one of the two",
            REFUSED,
        )
    return place, name


def find_experiment(api: Api, written: str, given: str | None) -> tuple[str, str]:
    """Namespace and name. The namespace is the one that is said; else `default` if it has an
    experiment of this name; else the only one that has. Raises NotFound, or CommandFailed when
    several have."""
    place, name = split_name(written, given)
    if place is not None:
        return place, name
    try:
        api.get(experiment_path(DEFAULT_NAMESPACE, name))
    except NotFound:
        return _only_one(api, name), name
    return DEFAULT_NAMESPACE, name


def find_trial(api: Api, written: str, given: str | None) -> str:
    """Its name, which no other trial has in any namespace. Raises NotFound when a namespace is
    said and it is in another."""
    place, name = split_name(written, given)
    if place is not None:
        found = api.get(path_of("trials", name))
        check_place(name, str(found["metadata"]["namespace"]), place)
    return name


def check_place(trial: str, found: str, wanted: str | None) -> None:
    """Raises NotFound when the trial was `found` in another namespace than the `wanted` one."""
    if wanted not in (None, found):
        raise NotFound(f"there is no trial {wanted}/{trial}: it is in {found}")


def _only_one(api: Api, name: str) -> str:
    having = [
        str(each["metadata"]["namespace"])
        for each in api.items(path_of("experiments"))
        if each["metadata"]["name"] == name
    ]
    if not having:
        raise NotFound(f"there is no experiment {name} in any namespace")
    if len(having) > 1:
        places = ", ".join(sorted(having))
        raise CommandFailed(f"several namespaces have {name} ({places}): choose with -n", REFUSED)
    return having[0]


def looks_like_a_trial(name: str) -> bool:
    """A guess, for which of two questions to ask first."""
    return _LIKE_A_TRIAL.fullmatch(name) is not None
