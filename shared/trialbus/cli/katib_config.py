"""Katib's `katib-config`: what of it has a place here, and where."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from trialbus.cli.failures import REFUSED, CommandFailed
from trialbus.cli.katib_objects import Object
from trialbus.contracts.cluster_permissions import TRIAL_KINDS
from trialbus.runtime.catalogue import catalogue_of
from trialbus.runtime.settings import Settings

_KEY = "katib-config.yaml"
# Where a server of Katib's gRPC API listens in its image.
_PORT = 6789


@dataclass(frozen=True, slots=True, kw_only=True)
class KatibConfig:
    """images: of algorithms and stopping rules, by name. kinds: `Kind.version.group` of trials.
    collectors: kinds whose sidecars had an image or resources of their own."""

    algorithms: Mapping[str, str]
    rules: Mapping[str, str]
    kinds: Sequence[str]
    collectors: Sequence[str]

    def lines(self) -> list[str]:
        """What an installation here does with it, for people."""
        known = catalogue_of(Settings.model_validate({}))
        own = {
            name: image for name, image in self.algorithms.items() if name not in known.algorithms
        }
        built_in = sorted(set(self.algorithms) - set(own))
        lines = ["katib-config:"]
        if built_in:
            lines.append(f"  built in, their images are not used: {', '.join(built_in)}")
        for name, image in sorted(own.items()):
            lines.append(f"  algorithm {name}: run {image} as a server and tell its address:")
            lines.append(f"    TRIALBUS_REMOTE_ALGORITHMS={json.dumps({name: f'HOST:{_PORT}'})}")
        for name in sorted(set(self.rules) - set(known.stopping_rules)):
            lines.append(
                f"  stopping rule {name}: none of this name; docs/how-to/add-a-stopping-rule.md"
            )
        lines += [f"  trials: {_granted(kind)}" for kind in self.kinds]
        if self.collectors:
            kinds = ", ".join(self.collectors)
            lines.append(
                f"  metrics collectors ({kinds}): no sidecars here, so no images or resources"
            )
        return lines


def read(config: Object) -> KatibConfig:
    """A ConfigMap, or the KatibConfig in it. Raises CommandFailed."""
    if config.get("kind") == "ConfigMap":
        try:
            config = yaml.safe_load(config["data"][_KEY])
        except yaml.YAMLError as error:
            raise CommandFailed(f"{_KEY} is no YAML: {error}", REFUSED) from error
    if not isinstance(config, dict):
        raise CommandFailed(f"{_KEY} holds no KatibConfig", REFUSED)
    runtime = _mapping(config.get("runtime"))
    controller = _mapping(_mapping(config.get("init")).get("controller"))
    return KatibConfig(
        algorithms=_images(runtime.get("suggestions")),
        rules=_images(runtime.get("earlyStoppings")),
        kinds=[str(it) for it in controller.get("trialResources") or ("Job.v1.batch",)],
        collectors=[str(it.get("kind")) for it in _listed(runtime.get("metricsCollectors"))],
    )


def _images(listed: Any) -> dict[str, str]:
    return {
        str(it["algorithmName"]): str(it.get("image", ""))
        for it in _listed(listed)
        if "algorithmName" in it
    }


def _listed(value: Any) -> list[Mapping[str, Any]]:
    return [it for it in value if isinstance(it, dict)] if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _granted(resource: str) -> str:
    """`Kind.version.group`: what the launcher's Role must name."""
    kind, _, rest = resource.partition(".")
    group = rest.partition(".")[2]
    if TRIAL_KINDS.get(kind, ("",))[0] == group:
        return f"{kind} ({group}) is a kind that the launcher's Role can be given by its name"
    return f"{kind} ({group}): give the launcher's Role RESOURCE.{group}"
