"""Which experiment is meant by a name without a namespace."""

import re

from trialbus.cli.api import Api, experiment_path, path_of
from trialbus.cli.failures import REFUSED, CommandFailed, NotFound

DEFAULT_NAMESPACE = "default"
# `<experiment>-` and 8 characters from uid and index.
_LIKE_A_TRIAL = re.compile(r".+-[a-z0-9]{8}")


def find_namespace(api: Api, name: str, given: str | None) -> str:
    """The one given; else `default` if it has an experiment of this name; else the only one that
    has. Raises NotFound, or CommandFailed when several have."""
    if given is not None:
        return given
    try:
        api.get(experiment_path(DEFAULT_NAMESPACE, name))
    except NotFound:
        return _only_one(api, name)
    return DEFAULT_NAMESPACE


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
