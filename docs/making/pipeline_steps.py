"""The steps of pipelines that carry `examples/pipelines/tune.py` in their YAML files."""

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "examples/pipelines"
FILES = (FOLDER / "kubeflow/component.yaml", FOLDER / "argo/workflow-template.yaml")
_BLOCK = re.compile(r"^( *)(\S.*\|  # tune\.py\n)(?:(?:\1  .*)?\n)+", re.M)


def pipeline_steps() -> dict[Path, str]:
    """Each file -> its text, with the program as it is now. Raises ValueError without a place."""
    program = (FOLDER / "tune.py").read_text()
    return {path: with_program(path.read_text(), program) for path in FILES}


def with_program(text: str, program: str) -> str:
    def block(found: "re.Match[str]") -> str:
        indent = found[1] + "  "
        lines = [f"{indent}{line}".rstrip() + "\n" for line in program.splitlines()]
        return found[1] + found[2] + "".join(lines)

    made, count = _BLOCK.subn(block, text)
    if count != 1:
        raise ValueError(f"{count} places for tune.py")
    return made
