"""Webhooks as the operator's file describes them. Pure: the file and the secrets are read
elsewhere."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from trialbus.kernel.errors import Problem, Refused
from trialbus.kernel.events import PUBLIC_TYPES
from trialbus.kernel.ids import is_name

# Of these nothing is lost with the stream: the documents say them.
ENDS = ("experiment.succeeded", "experiment.failed", "experiment.deleted")
DEFAULT_TYPES = ("experiment.*",)
DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S = 10.0, 60.0
MAX_WEBHOOKS = 100

_FIELDS = ("name", "url", "namespaces", "experiments", "types", "secret_file", "timeout")
_GLOB = re.compile(r"[a-z0-9*?\[\]!-]{1,80}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Which events a webhook gets. namespaces: none named is all."""

    namespaces: tuple[str, ...] = ()
    experiments: str = "*"
    types: tuple[str, ...] = ()

    def wants(self, namespace: str, experiment: str, event_type: str) -> bool:
        return (
            event_type in self.types
            and (not self.namespaces or namespace in self.namespaces)
            and fnmatchcase(experiment, self.experiments)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """secret_file: as the file names it."""

    name: str
    url: str
    secret_file: str
    wants: Subscription
    timeout_s: float = DEFAULT_TIMEOUT_S


def read_webhooks(file: Mapping[str, Any]) -> tuple[WebhookSettings, ...]:
    """Raises Refused with every problem."""
    entries = file.get("webhooks")
    if set(file) != {"webhooks"} or not isinstance(entries, list):
        raise Refused([Problem(field="", message="must be `webhooks:` and a list, no more")])
    if len(entries) > MAX_WEBHOOKS:
        raise Refused([Problem(field="webhooks", message=f"more than {MAX_WEBHOOKS}")])
    problems: list[Problem] = []
    names: set[str] = set()
    for index, entry in enumerate(entries):
        where = f"webhooks[{index}]"
        problems += _entry_problems(where, entry)
        if isinstance(entry, dict) and entry.get("name") in names:
            problems.append(Problem(field=f"{where}.name", message="is there twice"))
        names |= {entry["name"]} if isinstance(entry, dict) and _is_text(entry, "name") else set()
    if problems:
        raise Refused(problems)
    return tuple(_webhook(entry) for entry in entries)


def shown_url(url: str) -> str:
    """Without what may be secret: credentials, query and fragment."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "...=" if parts.query else "", ""))


def _webhook(entry: Mapping[str, Any]) -> WebhookSettings:
    return WebhookSettings(
        name=entry["name"],
        url=entry["url"],
        secret_file=entry["secret_file"],
        wants=Subscription(
            namespaces=tuple(entry.get("namespaces", ())),
            experiments=entry.get("experiments", "*"),
            types=_types_of(entry.get("types", DEFAULT_TYPES)),
        ),
        timeout_s=float(entry.get("timeout", DEFAULT_TIMEOUT_S)),
    )


def _types_of(patterns: Any) -> tuple[str, ...]:
    return tuple(name for name in PUBLIC_TYPES if any(fnmatchcase(name, it) for it in patterns))


def _entry_problems(where: str, entry: Any) -> Iterator[Problem]:
    if not isinstance(entry, dict):
        yield Problem(field=where, message="must be an object")
        return
    for name in entry:
        if name not in _FIELDS:
            message = f"no such field: one of {', '.join(_FIELDS)}"
            yield Problem(field=f"{where}.{name}", message=message)
    for name in ("name", "url", "secret_file"):
        if not _is_text(entry, name):
            yield Problem(field=f"{where}.{name}", message="must be given, as text")
    if _is_text(entry, "name") and not is_name(entry["name"]):
        yield Problem(field=f"{where}.name", message="must be lower-case letters, digits and '-'")
    if _is_text(entry, "url") and (wrong := _url_problem(entry["url"])):
        yield Problem(field=f"{where}.url", message=wrong)
    yield from _filter_problems(where, entry)
    timeout = entry.get("timeout", DEFAULT_TIMEOUT_S)
    is_number = isinstance(timeout, int | float) and not isinstance(timeout, bool)
    if not (is_number and 0 < timeout <= MAX_TIMEOUT_S):
        message = f"must be seconds, above 0, at most {MAX_TIMEOUT_S:g}"
        yield Problem(field=f"{where}.timeout", message=message)


def _filter_problems(where: str, entry: Mapping[str, Any]) -> Iterator[Problem]:
    namespaces = entry.get("namespaces", [])
    if not (isinstance(namespaces, list) and all(map(_is_namespace, namespaces))):
        yield Problem(field=f"{where}.namespaces", message="must be a list of namespaces")
    glob = entry.get("experiments", "*")
    if not (isinstance(glob, str) and _GLOB.fullmatch(glob)):
        yield Problem(field=f"{where}.experiments", message="must be a name, or one with * and ?")
    types = entry.get("types", list(DEFAULT_TYPES))
    if not isinstance(types, list) or not types:
        yield Problem(field=f"{where}.types", message="must be a list of events")
        return
    for it in types:
        if not (isinstance(it, str) and _types_of([it])):
            known = ", ".join(PUBLIC_TYPES)
            yield Problem(field=f"{where}.types", message=f"no event is {it!r:.60}: {known}")


def _url_problem(url: str) -> str:
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        return f"is no URL: {error}"
    if parts.scheme not in ("http", "https") or not named:
        return "must begin with http:// or https:// and a host"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must be printable ASCII without spaces"
    return ""


def _is_namespace(it: Any) -> bool:
    return isinstance(it, str) and is_name(it)


def _is_text(entry: Mapping[str, Any], name: str) -> bool:
    return isinstance(entry.get(name), str) and bool(entry[name])
