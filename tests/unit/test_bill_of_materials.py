"""What the bill of materials of an image says, by hand."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy/docker/sbom.py"
STATUS = """\
Package: libc6
Status: install ok installed
Architecture: amd64
Source: glibc
Version: 2.36-9+deb12u14
Description: a
 of more: lines

Package: libgcc-s1
Status: install ok installed
Architecture: amd64
Source: gcc-12 (12.2.0-14+deb12u1)
Version: 12.2.0-14+deb12u1b1

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_installed_package_of_debian_is_a_part(sbom: ModuleType) -> None:
    parts = list(sbom.debian_components(STATUS, []))
    assert [(it["name"], it["version"]) for it in parts] == [
        ("libc6", "2.36-9+deb12u14"),
        ("libgcc-s1", "12.2.0-14+deb12u1b1"),
    ]
    assert parts[0]["purl"] == ("pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=amd64&distro=bookworm")
    assert parts[1]["properties"] == [
        {"name": "debian:source", "value": "gcc-12"},
        {"name": "debian:source-version", "value": "12.2.0-14+deb12u1"},
    ]
    assert [it["name"] for it in sbom.debian_components(STATUS, ["libc6"])] == ["libc6"]


def test_each_distribution_of_an_environment_is_a_part(sbom: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "lib/python3.11/site-packages/Some_Thing-1.2.dist-info"
    folder.mkdir(parents=True)
    text = "Metadata-Version: 2.4\nName: Some_Thing\nVersion: 1.2\nLicense-Expression: MIT\n"
    (folder / "METADATA").write_text(text)
    assert list(sbom.python_components(tmp_path)) == [
        {
            "type": "library",
            "bom-ref": "pkg:pypi/some-thing@1.2",
            "name": "some-thing",
            "version": "1.2",
            "purl": "pkg:pypi/some-thing@1.2",
            "licenses": [{"expression": "MIT"}],
        }
    ]


def test_the_same_parts_give_the_same_document(
    sbom: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "status").write_text(STATUS)
    documents = []
    for folder in ("a", "b"):
        arguments = ["--name", "nats", "--version", "1.0", "--status", str(tmp_path / "status")]
        monkeypatch.setattr(sys, "argv", ["sbom", *arguments, "--into", str(tmp_path / folder)])
        sbom.main()
        documents.append((tmp_path / folder / "trialbus-nats.cdx.json").read_text())
    assert documents[0] == documents[1]
    document = json.loads(documents[0])
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.5")
    [dependencies] = document["dependencies"]
    assert dependencies["dependsOn"] == [it["bom-ref"] for it in document["components"]]
    assert document["metadata"]["component"]["bom-ref"] == dependencies["ref"]
    other = sbom.bill("nats", "1.1", [])
    assert other["serialNumber"] != document["serialNumber"]
