"""One step of a pipeline: an experiment from its event to its best parameters.

    python3 tune.py --url http://trialbus:8080 --run RUN-ID --experiment FILE-OR-JSON \\
        --parameters-file best.json --value-file best.txt

Every option can also be an environment variable: TRIALBUS_URL, RUN_ID, EXPERIMENT, PARAMETERS_FILE,
VALUE_FILE. TRIALBUS_TOKEN, if it is set, says who asks. Needs Python 3.10 and nothing else.

The same RUN-ID is the same experiment: a step that is started again waits on for what it created
before. `metadata.generateName` instead of a name gives each run an experiment of its own. Exit code
1: the experiment has failed or was deleted; 2: it was refused; 3: the gateway is away for too long.
"""

import argparse
import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

WAIT_S = 300  # for one answer: less than what proxies close
AWAY_S = 600  # the gateway may be away for as long
CONTENT_TYPE = "application/cloudevents+json"


def main() -> int:
    options = parse()
    experiment = load(options.experiment)
    metadata = experiment.setdefault("metadata", {})
    if "generateName" in metadata:
        mark = hashlib.sha256(options.run.encode()).hexdigest()[:8]
        metadata["name"] = metadata.pop("generateName") + mark
    event = {
        "specversion": "1.0",
        "id": options.run,
        "source": "/pipelines",
        "type": "io.trialbus.experiment.create.v1",
        "data": experiment,
    }
    result = awaited(options.url.rstrip("/"), event, options.wait)
    if result["phase"] != "Succeeded":
        return ended(1, f"{result['phase']}: {result['reason']}: {result['message']}")
    best = result["best"]
    if best is None:
        return ended(1, "the experiment has ended without a best trial")
    write(options.parameters_file, json.dumps(best["parameters"]))
    write(options.value_file, json.dumps(best["value"]))
    print(json.dumps({"experiment": result["name"], "trial": best["trial"], **best["parameters"]}))
    return 0


def awaited(url: str, event: dict[str, Any], wait_s: int) -> dict[str, Any]:
    """How the experiment ended. The same event again, as often as it takes."""
    away_since: float | None = None
    while True:
        try:
            told = call(f"{url}/v1/events?wait={wait_s}", wait_s + 60, event)
            if told["finished"]:
                result: dict[str, Any] = told["result"]
                return result
            path = f"/v1/namespaces/{told['namespace']}/experiments/{told['experiment']}"
            if call(url + path, 60)["metadata"]["uid"] != told["uid"]:
                raise SystemExit(ended(1, "the experiment was deleted"))
            away_since = None
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise SystemExit(ended(1 if error.code == 404 else 2, complaint(error))) from error
            away_since = waited(away_since, complaint(error))
        except (OSError, ValueError) as error:
            away_since = waited(away_since, str(error))


def waited(away_since: float | None, why: str) -> float:
    """Since when the gateway is away."""
    now = time.monotonic()
    if away_since is not None and now - away_since > AWAY_S:
        raise SystemExit(ended(3, f"the gateway is away: {why}"))
    time.sleep(2)
    return now if away_since is None else away_since


def call(url: str, timeout_s: float, body: dict[str, Any] | None = None) -> Any:
    headers = {"content-type": CONTENT_TYPE}
    if os.environ.get("TRIALBUS_TOKEN"):
        headers["authorization"] = "Bearer " + os.environ["TRIALBUS_TOKEN"]
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers)
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return json.load(answer)


def complaint(error: urllib.error.HTTPError) -> str:
    """What the gateway says, every problem on a line of its own."""
    text = error.read().decode(errors="replace")
    try:
        told = json.loads(text)
        problems = [f"{it['field']}: {it['message']}" for it in told.get("problems", [])]
        return "\n".join([told["message"], *problems])
    except (ValueError, KeyError, TypeError):
        return f"status {error.code}: {text[:500]}"


def ended(code: int, why: str) -> int:
    print(why, file=sys.stderr)
    return code


def load(text: str) -> dict[str, Any]:
    """text: a JSON object, or the name of a file with one."""
    if not text.lstrip().startswith("{"):
        text = Path(text).read_text(encoding="utf-8")
    experiment: dict[str, Any] = json.loads(text)
    return experiment


def write(path: str, text: str) -> None:
    if path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Tune, and hand on the best parameters.")
    for name, variable in (
        ("url", "TRIALBUS_URL"),
        ("run", "RUN_ID"),
        ("experiment", "EXPERIMENT"),
        ("parameters-file", "PARAMETERS_FILE"),
        ("value-file", "VALUE_FILE"),
    ):
        given = os.environ.get(variable)
        needed = given is None and not name.endswith("-file")
        parser.add_argument(f"--{name}", default=given or "", required=needed)
    parser.add_argument("--wait", type=int, default=WAIT_S)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
