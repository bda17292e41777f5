"""Reading an experiment's file, offline: what is wrong with it is said before anything starts."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trialbus.cli.failures import REFUSED, CommandFailed
from trialbus.contracts.katib.spec import parse_experiment
from trialbus.contracts.katib.template_sources import TemplatesElsewhere
from trialbus.contracts.yaml_input import load_document
from trialbus.kernel.errors import Refused
from trialbus.kernel.limits import MAX_YAML_BYTES
from trialbus.runtime.catalogue import catalogue_of
from trialbus.runtime.settings import Settings

STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExperimentFile:
    """A valid one. document: as the user wrote it, with the namespace that was chosen."""

    shown: str
    namespace: str
    name: str
    document: dict[str, Any]
    working_dir: Path


def read_experiment(file: str, namespace: str | None = None) -> ExperimentFile:
    """`-` reads stdin. namespace: where the file says none. Raises CommandFailed with every
    problem and code 2."""
    shown = "stdin" if file == STDIN else file
    path = None if file == STDIN else Path(file)
    folder = Path.cwd() if path is None else path.resolve().parent
    try:
        document = load_document(_read(path))
        if namespace is not None:
            document = _placed(document, namespace)
        parsed = parse_experiment(
            document,
            catalogue=catalogue_of(Settings.model_validate({})),
            base_dir=folder,
            templates=TemplatesElsewhere(),
        )
    except Refused as refusal:
        lines = [f"  {problem}" for problem in refusal.problems]
        raise CommandFailed([f"{shown} is refused:", *lines], REFUSED) from refusal
    except OSError as error:
        raise CommandFailed(f"cannot read {shown}: {error.strerror}", REFUSED) from error
    return ExperimentFile(
        shown=shown,
        namespace=parsed.namespace,
        name=parsed.name,
        document=document,
        working_dir=folder,
    )


def _read(path: Path | None) -> bytes:
    """One byte more than is allowed at most: the parser then says so."""
    if path is None:
        return sys.stdin.buffer.read(MAX_YAML_BYTES + 1)
    with path.open("rb") as file:
        return file.read(MAX_YAML_BYTES + 1)


def _placed(document: dict[str, Any], namespace: str) -> dict[str, Any]:
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or metadata.get("namespace") not in (None, namespace):
        return document  # the file's own word counts, and its faults are the parser's to name
    return {**document, "metadata": {**metadata, "namespace": namespace}}
