"""One experiment, as its tuner sees it: asked of the gateway, which answers selectors only."""

from making.dashboards.panels import Board, Look, Panel, Query, Row, Source, Unit, Variable, figure
from trialbus_gateway.core.series_kinds import BY_NAME


def _series(name: str, **where: str) -> str:
    """where: regular expressions. Raises ValueError for labels that it has not."""
    kind = BY_NAME[name]
    chosen = {"namespace": "=$namespace", "experiment": "=$experiment"}
    chosen |= {label: f"=~{value}" for label, value in where.items()}
    if missing := sorted(set(chosen) - set(kind.labels)):
        raise ValueError(f"{name} has no labels {missing}")
    told = []
    for label, value in chosen.items():
        operator = "=~" if value.startswith("=~") else "="
        told.append(f'{label}{operator}"{value.removeprefix(operator)}"')
    return f"{name}{{{','.join(told)}}}"


def _figure(title: str, about: str, name: str, unit: Unit, **where: str) -> Panel:
    return figure(title, about, _series(name, **where), unit, source=Source.EXPERIMENTS)


def _panel(
    title: str,
    about: str,
    queries: list[Query],
    unit: Unit = Unit.VALUE,
    *,
    look: Look = Look.LINES,
    width: int = 12,
    height: int = 9,
    stacked: bool = False,
    points_only: bool = False,
) -> Panel:
    return Panel(
        title=title,
        about=about,
        queries=queries,
        unit=unit,
        look=look,
        source=Source.EXPERIMENTS,
        width=width,
        height=height,
        stacked=stacked,
        points_only=points_only,
    )


SUMMARY = Row(
    "How far it is",
    [
        _figure(
            "Best value so far",
            "Of trials that succeeded or were stopped early.",
            "experiment_best_value",
            Unit.VALUE,
        ),
        _figure("Goal", "Where there is one; it ends there.", "experiment_goal", Unit.VALUE),
        _figure("Trials opened", "So far.", "experiment_opened_trials", Unit.COUNT),
        _figure(
            "Trials it may have",
            "`maxTrialCount`; none: no limit.",
            "experiment_budget_trials",
            Unit.COUNT,
        ),
        _figure("Trials running", "Opened and not ended.", "experiment_open_trials", Unit.COUNT),
        _figure(
            "Time of its trials",
            "What the ended trials took together.",
            "experiment_trial_seconds",
            Unit.SECONDS,
        ),
        _panel(
            "Best value over time",
            "Each step is a better trial. Flat for long: it has found what it finds, or the space "
            "leaves nothing better.",
            [
                Query(_series("experiment_best_value"), "best so far"),
                Query(_series("experiment_last_value"), "newest trial"),
                Query(_series("experiment_goal"), "goal"),
            ],
        ),
        _panel(
            "Trials over time, by how they ended",
            "EarlyStopped saves time, Failed and MetricsUnavailable cost it: `trialbus explain` "
            "of one of them says why.",
            [Query(_series("experiment_trials"), "{{state}}")],
            Unit.COUNT,
            stacked=True,
        ),
        _panel(
            "Trials running, of those that may run",
            "Fewer than `parallelTrialCount` while it runs: it waits for points, a launcher or "
            "workers; its conditions say for what.",
            [
                Query(_series("experiment_open_trials"), "running"),
                Query(_series("experiment_parallel_trials"), "at most"),
            ],
            Unit.COUNT,
        ),
        _panel(
            "What it is",
            "Algorithm, stopping rule, objective and phase.",
            [Query(_series("experiment_info"), "")],
            Unit.COUNT,
            look=Look.TABLE,
        ),
    ],
)

TRIALS = Row(
    "Its trials",
    [
        _panel(
            "Parameter against objective",
            "A dot for each ended trial: the chosen parameter to the right, the objective upwards. "
            "A valley or slope says that it matters, a cloud that it does not. Of a parameter with "
            "texts: the place in its list, from 0.",
            [
                Query(_series("trial_parameter", parameter="$parameter"), "parameter"),
                Query(_series("trial_objective"), "objective"),
            ],
            look=Look.POINTS,
            height=11,
        ),
        _panel(
            "Objective of each trial",
            "From its end on.",
            [Query(_series("trial_objective"), "{{trial}} ({{phase}})")],
            points_only=True,
            height=11,
        ),
        _panel(
            "Trials stopped early, with the objective that they had",
            "What the stopping rule gave up. If one of them was nearly the best, it stops too "
            "early: raise `start_step` or the number of trials it waits for.",
            [Query(_series("trial_objective", phase="EarlyStopped"), "objective")],
            look=Look.TABLE,
        ),
        _panel(
            "How long each trial took",
            "By how it ended.",
            [Query(_series("trial_duration_seconds"), "{{trial}} ({{phase}})")],
            Unit.SECONDS,
            points_only=True,
        ),
    ],
)

CURVES = Row(
    "Curves of chosen trials",
    [
        _panel(
            "What trials reported, over time",
            "The chosen metrics of the chosen trials, from their newest attempt. A curve that ends "
            "early was stopped, killed or lost.",
            [
                Query(
                    _series("trial_metric", trial="$trial", metric="$metric"),
                    "{{trial}}: {{metric}}",
                )
            ],
        ),
        _panel(
            "How many reports they made",
            "The number of the newest report: the step of the curves.",
            [
                Query(
                    _series("trial_metric_step", trial="$trial", metric="$metric"),
                    "{{trial}}: {{metric}}",
                )
            ],
            Unit.COUNT,
        ),
    ],
)


def _variable(name: str, series: str, *chosen: str, several: bool = False) -> Variable:
    where = ",".join(f'{label}="${label}"' for label in chosen)
    braces = f"{{{where}}}" if where else ""
    return Variable(
        name=name,
        label=name,
        query=f"label_values({series}{braces}, {name})",
        source=Source.EXPERIMENTS,
        several=several,
    )


EXPERIMENT = Board(
    uid="trialbus-experiment",
    title="Trialbus: one experiment",
    about="How one experiment goes: its best value, its trials, its parameters, what was stopped. "
    "Asked of trialbus' gateway, a second source of the type Prometheus.",
    variables=(
        _variable("namespace", "experiment_info"),
        _variable("experiment", "experiment_info", "namespace"),
        _variable("parameter", "trial_parameter", "namespace", "experiment"),
        _variable("trial", "trial_objective", "namespace", "experiment", several=True),
        _variable("metric", "trial_metric", "namespace", "experiment", several=True),
    ),
    rows=[SUMMARY, TRIALS, CURVES],
    sources=(Source.EXPERIMENTS,),
    since="now-6h",
    refresh="10s",
)
