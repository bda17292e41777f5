"""Check a finished experiment, as `trialbus run --json` prints it, for a good enough best trial."""

import argparse
import json
import sys
from pathlib import Path


def main() -> int:
    """Print the best trial's objective value; 1 when it is missing or below the bound."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("--at-least", type=float, required=True)
    arguments = parser.parse_args()
    experiment = json.loads(arguments.result.read_text())
    objective = experiment["spec"]["objective"]["objectiveMetricName"]
    best = experiment["status"].get("currentOptimalTrial") or {}
    metrics = best.get("observation", {}).get("metrics", [])
    # Katib says "unavailable" where a strategy found no value.
    values = [
        float(m["max"]) for m in metrics if m["name"] == objective and m["max"] != "unavailable"
    ]
    if not values or values[0] < arguments.at_least:
        sys.stderr.write(f"best {objective}: {values or 'none'}, wanted {arguments.at_least}\n")
        return 1
    sys.stdout.write(f"best trial {best.get('bestTrialName')}: {objective} {values[0]:.4f}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
