"""What `kubectl get experiments,trials,configmaps -o yaml` wrote, sorted by experiment."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from trialbus.cli.failures import REFUSED, CommandFailed

Object = Mapping[str, Any]
_GROUP = "kubeflow.org/"
_EXPERIMENT_LABEL = "katib.kubeflow.org/experiment"
_TIMESTAMP_TAG = "tag:yaml.org,2002:timestamp"


@dataclass(slots=True)
class Export:
    """experiments: by (namespace, name); trials: by those of their experiment, oldest first.
    others: kinds that are of no use, with how many there were."""

    experiments: dict[tuple[str, str], Object] = field(default_factory=dict)
    trials: dict[tuple[str, str], list[Object]] = field(default_factory=dict)
    configs: list[Object] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Times stay texts, as they are in JSON."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way
        first: [(tag, regexp) for tag, regexp in resolvers if tag != _TIMESTAMP_TAG]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_export(files: Sequence[str]) -> Export:
    """Raises CommandFailed for a file that cannot be read; objects of no use are counted."""
    found = Export()
    for file in files:
        for each in _flat(_documents(file)):
            _sort_in(each, found)
    for trials in found.trials.values():
        trials.sort(key=lambda it: (created_at(it), str(it["metadata"].get("name"))))
    return found


def created_at(each: Object) -> str:
    """RFC 3339, whole seconds, so that texts sort as times do."""
    return str(each["metadata"].get("creationTimestamp") or "")


def name_of(each: Object) -> tuple[str, str]:
    metadata = each["metadata"]
    return str(metadata.get("namespace") or "default"), str(metadata.get("name") or "")


def holding(each: Object) -> list[str]:
    """The types of the conditions that hold, the newest last."""
    conditions = (each.get("status") or {}).get("conditions") or ()
    return [str(it.get("type")) for it in conditions if it.get("status") == "True"]


def _documents(file: str) -> Iterator[Any]:
    try:
        text = Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read {file}: {error}", REFUSED) from error
    try:
        if text.lstrip().startswith("{"):
            yield json.loads(text)
        else:
            yield from yaml.load_all(text, Loader=_Loader)
    except (ValueError, yaml.YAMLError) as error:
        raise CommandFailed(f"{file} is neither YAML nor JSON: {error}", REFUSED) from error


def _flat(documents: Iterable[Any]) -> Iterator[Object]:
    for each in documents:
        if not isinstance(each, dict):
            continue
        items = each.get("items")
        if isinstance(items, list) and str(each.get("kind", "")).endswith("List"):
            yield from _flat(items)
        else:
            yield each


def _sort_in(each: Object, found: Export) -> None:
    kind = str(each.get("kind", ""))
    ours = str(each.get("apiVersion", "")).startswith(_GROUP)
    if isinstance(each.get("metadata"), dict) and isinstance(each.get("spec"), dict) and ours:
        if kind == "Experiment":
            found.experiments[name_of(each)] = each
            return
        if kind == "Trial":
            found.trials.setdefault((name_of(each)[0], _experiment_of(each)), []).append(each)
            return
    if kind == "KatibConfig" or (kind == "ConfigMap" and "katib-config.yaml" in _data(each)):
        found.configs.append(each)
        return
    found.others[kind or "without a kind"] = found.others.get(kind or "without a kind", 0) + 1


def _data(each: Object) -> Object:
    data = each.get("data")
    return data if isinstance(data, dict) else {}


def _experiment_of(trial: Object) -> str:
    metadata = trial["metadata"]
    label = (metadata.get("labels") or {}).get(_EXPERIMENT_LABEL)
    if label:
        return str(label)
    owners = metadata.get("ownerReferences") or ()
    return next((str(it.get("name")) for it in owners if it.get("kind") == "Experiment"), "")
