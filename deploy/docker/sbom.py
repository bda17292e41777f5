"""Writes what an image is made of as a CycloneDX 1.5 document: trialbus-<name>.cdx.json.

Runs while an image is built, with the standard library alone. Parts are Debian's packages, from the
status file of dpkg, and the distributions of a Python environment, from their metadata. The same
parts give the same bytes: there is no time in it, and its serial number is made from its content.
"""

import argparse
import importlib.metadata
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]
SUITE = "bookworm"
# Of the serial numbers; made once.
NAMESPACE = uuid.UUID("5b1c9d1e-93a8-4a54-8c39-1a4f0c52b7b1")


def debian_components(status: str, only: list[str]) -> Iterator[Component]:
    """Of a status file's text: one for each installed binary package; only: those to keep."""
    for paragraph in status.strip().split("\n\n"):
        lines = (line.partition(": ") for line in paragraph.splitlines() if line[:1] != " ")
        fields = {name: value for name, _, value in lines}
        source, _, source_version = (fields.get("Source") or fields["Package"]).partition(" ")
        if fields["Status"] != "install ok installed" or (only and fields["Package"] not in only):
            continue
        name, version = fields["Package"], fields["Version"]
        qualifiers = f"arch={fields['Architecture']}&distro={SUITE}"
        purl = f"pkg:deb/debian/{quote(name, safe='')}@{quote(version, safe='')}?{qualifiers}"
        yield {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            "properties": [
                {"name": "debian:source", "value": source},
                {"name": "debian:source-version", "value": source_version.strip("()") or version},
            ],
        }


def python_components(environment: Path) -> Iterator[Component]:
    """One for each distribution in the environment's site-packages."""
    folders = [str(folder) for folder in environment.glob("lib/python3*/site-packages")]
    for found in importlib.metadata.distributions(path=folders):
        name = re.sub(r"[-_.]+", "-", found.metadata["Name"]).lower()
        purl = f"pkg:pypi/{name}@{quote(found.version, safe='')}"
        component: Component = {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": found.version,
            "purl": purl,
        }
        if "License-Expression" in found.metadata:
            component["licenses"] = [{"expression": found.metadata["License-Expression"]}]
        yield component


def bill(name: str, version: str, components: list[Component]) -> dict[str, Any]:
    """The document of the image `name`, its parts in alphabetical order."""
    ordered = sorted(components, key=lambda it: str(it["bom-ref"]))
    subject = f"pkg:oci/{name}@{quote(version, safe='')}"
    content = json.dumps([subject, ordered], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": subject,
                "name": f"trialbus-{name}",
                "version": version,
            }
        },
        "components": ordered,
        "dependencies": [{"ref": subject, "dependsOn": [str(it["bom-ref"]) for it in ordered]}],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--name", required=True, help="Of the image, without its repository.")
    parser.add_argument("--version", required=True)
    parser.add_argument("--status", type=Path, help="dpkg's status file.")
    parser.add_argument("--only", action="append", default=[], help="A package to keep.")
    parser.add_argument("--python", type=Path, help="Folder of a virtual environment.")
    parser.add_argument("--into", type=Path, required=True, help="Folder for the document.")
    given = parser.parse_args()
    components: list[Component] = []
    if given.status:
        components += debian_components(given.status.read_text("utf-8"), given.only)
    if given.python:
        components += python_components(given.python)
    given.into.mkdir(parents=True, exist_ok=True)
    document = json.dumps(bill(given.name, given.version, components), indent=1)
    (given.into / f"trialbus-{given.name}.cdx.json").write_text(document + "\n", "utf-8")


if __name__ == "__main__":
    main()
