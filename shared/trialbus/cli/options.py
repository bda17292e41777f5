"""Options and arguments that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="TRIALBUS_DATA_DIR",
        help="Folder of the stack: its data, logs and addresses. [default: .trialbus]",
    ),
]
Url = Annotated[
    str | None,
    typer.Option("--url", envvar="TRIALBUS_URL", help="Address of a running stack instead."),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="TRIALBUS_TOKEN",
        show_envvar=False,
        help="Who we are to a gateway that asks. Better: the variable TRIALBUS_TOKEN.",
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        "--namespace", "-n", help="Without it: default, or the only one that has the name."
    ),
]
MapImage = Annotated[
    list[str] | None,
    typer.Option(
        "--map-image",
        metavar="IMAGE=DIR",
        help="Folder that stands for a container image. May be given again.",
    ),
]
MapPath = Annotated[
    list[str] | None,
    typer.Option(
        "--map-path",
        metavar="IMAGE_PATH=LOCAL_PATH",
        help="Where a path of container images lies here. May be given again.",
    ),
]
Secure = Annotated[
    bool,
    typer.Option("--secure", help="Give each service its own key to the bus; the folder stays so."),
]
Observe = Annotated[
    bool,
    typer.Option("--observe", help="With Prometheus beside it, where that is installed."),
]
KeepUp = Annotated[bool, typer.Option("--keep-up", help="Leave the stack running at the end.")]
Anew = Annotated[bool, typer.Option("--anew", help="Delete what there is of this name first.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FileNamespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Where the file names none.")
]
Tail = Annotated[int | None, typer.Option("--tail", min=0, help="Only so many lines of its end.")]
TrialName = Annotated[str, typer.Argument(metavar="TRIAL", help="Its NAME, or NAMESPACE/NAME.")]
TrialNamespace = Annotated[
    str | None,
    typer.Option("--namespace", "-n", help="Where it must be. Without it: wherever it is."),
]
AnyName = Annotated[
    str, typer.Argument(metavar="EXPERIMENT|TRIAL", help="Its NAME, or NAMESPACE/NAME.")
]
ExperimentName = Annotated[
    str, typer.Argument(metavar="EXPERIMENT", help="Its NAME, or NAMESPACE/NAME.")
]
