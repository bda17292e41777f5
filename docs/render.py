"""Renders the charts into files, or packages them: `make golden-charts`, `make manifests`,
`make charts`.

`--check` writes nothing and exits with 1 when a file is not what would be written.
"""

import argparse
import sys
from pathlib import Path

from making.charts.files import REPOSITORY
from making.charts.manifests import golden_files, manifest_files
from making.charts.rendering import built_charts, package_charts

KINDS = {"golden": golden_files, "manifests": manifest_files}
PACKAGES = REPOSITORY / "dist/charts"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("kind", choices=[*KINDS, "packages"])
    parser.add_argument("--check", action="store_true", help="write nothing, say what is old")
    arguments = parser.parse_args()
    with built_charts() as charts:
        if arguments.kind == "packages":
            for path in package_charts(charts, PACKAGES):
                sys.stdout.write(f"made: {path.relative_to(REPOSITORY)}\n")
            return 0
        files = KINDS[arguments.kind](charts)
    old = [path for path, text in files.items() if _text(path) != text]
    for path in old:
        told = "old" if arguments.check else "written"
        sys.stdout.write(f"{told}: {path.relative_to(REPOSITORY)}\n")
        if not arguments.check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
    return 1 if arguments.check and old else 0


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
