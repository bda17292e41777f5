"""Each import contract breaks on the breach that it is there for."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SERVICES = [
    "experiment",
    "suggestion",
    "trial_launcher",
    "metrics_collector",
    "early_stopping",
    "gateway",
]
SHARED = [
    "kernel",
    "contracts",
    "ports",
    "adapters",
    "runtime",
    "client",
    "cli",
    "local",
    "testkit",
]
CORE = "trialbus_suggestion.core"

# contract, importing module, imported module
BREACHES = [
    ("service-layers", CORE, "trialbus_suggestion.app"),
    ("service-layers", "trialbus_gateway.app", "trialbus_gateway.adapters"),
    ("service-layers", "trialbus_gateway.adapters", "trialbus_gateway.main"),
    ("services-apart", "trialbus_experiment.app", "trialbus_gateway.core"),
    ("shared-layers", "trialbus.runtime", "trialbus.adapters"),
    ("shared-layers", "trialbus.adapters", "trialbus.runtime"),
    ("shared-layers", "trialbus.ports", "trialbus.runtime"),
    ("shared-layers", "trialbus.contracts", "trialbus.ports"),
    ("shared-layers", "trialbus.kernel", "trialbus.contracts"),
    ("shared-layers", "trialbus.local", "trialbus.cli"),
    ("shared-below-services", "trialbus.local", "trialbus_gateway.main"),
    ("adapters-for-few", "trialbus_gateway.app", "trialbus.adapters"),
    ("runtime-for-few", "trialbus_gateway.adapters", "trialbus.runtime"),
    ("client-light", "trialbus.client", "trialbus.ports"),
    ("client-light", "trialbus.client", "trialbus_gateway.core"),
    ("kernel-alone", CORE, "trialbus.contracts"),
    ("pure", CORE, "random"),
    ("pure", "trialbus.kernel", "asyncio"),
    ("pure", "trialbus.kernel", "os"),
    ("testkit-for-tests", "trialbus.runtime", "trialbus.testkit"),
]


def _file(tree: Path, module: str) -> Path:
    if module.endswith(".main"):
        return tree / (module.replace(".", "/") + ".py")
    return tree / module.replace(".", "/") / "__init__.py"


@pytest.fixture
def skeleton(tmp_path: Path, repository: Path) -> Path:
    """All packages, empty, under the repository's contracts."""
    packages = [f"trialbus_{s}" for s in SERVICES]
    modules = ["trialbus", *(f"trialbus.{s}" for s in SHARED), *packages]
    for package in packages:
        modules += [f"{package}.{part}" for part in ("core", "app", "adapters", "main")]
    for module in modules:
        file = _file(tmp_path, module)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    shutil.copy(repository / ".importlinter", tmp_path)
    return tmp_path


def _lint(tree: Path, contract: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--no-logo"]
    return subprocess.run(
        [*command, "--contract", contract],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("contract", "importer", "imported"), BREACHES)
def test_a_breach_breaks_its_contract(
    skeleton: Path, contract: str, importer: str, imported: str
) -> None:
    _file(skeleton, importer).write_text(f"import {imported}\n")
    result = _lint(skeleton, contract)
    assert result.returncode == 1, result.stdout
    assert "Contracts: 0 kept, 1 broken." in result.stdout


def test_what_the_architecture_allows_passes(skeleton: Path) -> None:
    main = _file(skeleton, "trialbus_gateway.main")
    main.write_text("import trialbus.runtime, trialbus.adapters, trialbus_gateway.adapters\n")
    _file(skeleton, CORE).write_text(
        "import trialbus.kernel\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import random\n"
    )
    for contract in sorted({contract for contract, _, _ in BREACHES}):
        result = _lint(skeleton, contract)
        assert result.returncode == 0, result.stdout


def test_every_contract_has_a_breach(repository: Path) -> None:
    lines = (repository / ".importlinter").read_text().splitlines()
    opening = "[importlinter:contract:"
    contracts = {line.removeprefix(opening)[:-1] for line in lines if line.startswith(opening)}
    assert contracts == {contract for contract, _, _ in BREACHES}


def test_a_module_beside_the_layers_of_a_service_is_found(skeleton: Path) -> None:
    (skeleton / "trialbus_gateway" / "extras.py").touch()
    assert _lint(skeleton, "service-layers").returncode == 1
