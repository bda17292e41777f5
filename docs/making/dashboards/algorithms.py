"""Algorithms and stopping rules: how long they take, what they cost, where they fail."""

from making.dashboards.panels import (
    OPERATED,
    Board,
    Panel,
    Query,
    Row,
    Unit,
    Variable,
    figure,
    latencies,
    line,
    slowest,
)
from making.dashboards.queries import grown, level, mean, quantile, rate, share
from trialbus.runtime import metrics

_CHOSEN = {"algorithm": "$algorithm"}

POINTS = Row(
    "Points",
    [
        figure(
            "Points proposed",
            "In the time shown.",
            grown(metrics.POINTS, **_CHOSEN),
            Unit.COUNT,
        ),
        figure(
            "Points ahead",
            "Drawn for living experiments and no trial yet. 0 while experiments run: each trial "
            "waits for its point; algorithms that need results (rungs, PBT) never draw ahead.",
            level(metrics.POINTS_AHEAD),
            Unit.COUNT,
        ),
        figure(
            "Requests that failed",
            "Because of the algorithm, in the time shown. Good: 0. The experiment says "
            "SuggestionStalled or fails with the message; suggestion's log has the traceback.",
            grown(metrics.ALGORITHM_FAILURES, **_CHOSEN),
            Unit.COUNT,
            worse=0.5,
        ),
        Panel(
            title="Points proposed, by algorithm",
            about="What the algorithms deliver. Zero with experiments waiting: see failures and "
            "the queue.",
            queries=line(rate(metrics.POINTS, "algorithm", **_CHOSEN), "{{algorithm}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="Points ahead of need",
            about="A stock that hides the time of the algorithm. Steadily 0 with algorithms that "
            "may draw ahead: they are slower than the trials.",
            queries=line(level(metrics.POINTS_AHEAD), "points"),
            unit=Unit.COUNT,
        ),
        Panel(
            title="Requests that failed, by algorithm",
            about="Good: none. The algorithm raised, or took longer than its deadline.",
            queries=line(rate(metrics.ALGORITHM_FAILURES, "algorithm", **_CHOSEN), "{{algorithm}}"),
            unit=Unit.PER_S,
            worse=0.001,
        ),
    ],
)

TIME = Row(
    "Where the time goes",
    [
        Panel(
            title="From a request to its answer, by algorithm (p99)",
            about="What an experiment waits for, the queue and the store counted. Good: under "
            "0.1 s for random, sobol and grid, under 1 s for those that model.",
            queries=slowest(metrics.SUGGESTED, "algorithm", **_CHOSEN),
            unit=Unit.SECONDS,
            worse=1,
            bad=10,
        ),
        Panel(
            title="The algorithm's own time a point, by algorithm (p99)",
            about="Computing alone. It grows with the trials that a model has seen; if it passes "
            "the time of a trial, places stay empty.",
            queries=slowest(metrics.ALGORITHM, "algorithm", **_CHOSEN),
            unit=Unit.SECONDS,
            worse=1,
        ),
        Panel(
            title="Wait for a process to compute in",
            about="Good: under 0.1 s. Above: more is asked than the cores can compute: add "
            "replicas of suggestion, or cores.",
            queries=latencies(metrics.ALGORITHM_QUEUE),
            unit=Unit.SECONDS,
            worse=1,
        ),
        Panel(
            title="From a request to its answer, by algorithm (mean)",
            about="The mean says what it costs over all; far below the p99: some requests wait "
            "for long, most do not.",
            queries=line(mean(metrics.SUGGESTED, "algorithm", **_CHOSEN), "{{algorithm}}"),
            unit=Unit.SECONDS,
        ),
        Panel(
            title="The algorithm's own time a point, by algorithm (mean)",
            about="Compare with the benchmark in the documentation: docs/benchmarks/suggest.md.",
            queries=line(mean(metrics.ALGORITHM, "algorithm", **_CHOSEN), "{{algorithm}}"),
            unit=Unit.SECONDS,
        ),
        Panel(
            title="Processes of algorithms that died, by reason",
            about="What they computed is computed again, at the cost of its time; a question that "
            "ends two fails its experiment. `killed`: mostly for memory; `crashed`: the "
            "algorithm's libraries; `stuck`: no answer in time; `slow`: ended on purpose, its "
            "experiment goes on among the slow ones; `unstarted`: no processes or memory. Good: "
            "none, but for `slow`.",
            queries=line(rate(metrics.ALGORITHM_DEATHS, "reason"), "{{reason}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="Requests for points, by algorithm",
            about="Requests, each for one or more points.",
            queries=line(rate(metrics.SUGGESTED, "algorithm", **_CHOSEN), "{{algorithm}}"),
            unit=Unit.PER_S,
        ),
    ],
)

STOPPING = Row(
    "Early stopping",
    [
        Panel(
            title="Trials that a rule wanted stopped, by rule",
            about="What early stopping saves. None with a rule that should: its settings "
            "(`start_step`, `min_trials_required`) leave it nothing to judge.",
            queries=line(rate(metrics.STOP_VERDICTS, "rule"), "{{rule}}"),
            unit=Unit.PER_S,
        ),
        Panel(
            title="From a report to the verdict that it led to",
            about="Good: p99 under 1 s. Above: early_stopping is behind: its lag, its event loop.",
            queries=latencies(metrics.STOP_VERDICT),
            unit=Unit.SECONDS,
            bad=1,
        ),
        Panel(
            title="Stopping rules that failed, by rule",
            about="Good: none. A rule that fails is left alone: its experiment goes on without "
            "stops. early_stopping's log has the traceback.",
            queries=line(rate(metrics.RULE_FAILURES, "rule"), "{{rule}}"),
            unit=Unit.PER_S,
            worse=0.001,
        ),
        Panel(
            title="Part of the ended trials that were stopped early",
            about="Between a third and two thirds is usual for rungs and medians. Near 1: the rule "
            "stops trials that would have been good.",
            queries=line(
                share(
                    rate(metrics.TRIALS_ENDED, outcome="EarlyStopped"), rate(metrics.TRIALS_ENDED)
                ),
                "stopped early",
            ),
            unit=Unit.SHARE,
        ),
        Panel(
            title="From a trial's end to the opening of the next",
            about="With a point ahead it is the same commit. Above 1 s: experiments wait for "
            "points, places stay empty.",
            queries=[
                Query(quantile(part, metrics.NEXT_START), f"p{part * 100:g}")
                for part in (0.5, 0.95, 0.99)
            ],
            unit=Unit.SECONDS,
            worse=1,
        ),
    ],
)

ALGORITHMS = Board(
    uid="trialbus-algorithms",
    title="Trialbus: algorithms",
    about="How long algorithms take for a point, what waits for them, where they fail; and what "
    "the stopping rules do.",
    variables=(
        *OPERATED,
        Variable(
            name="algorithm",
            label="algorithm",
            query="label_values(trialbus_suggestion_seconds_count"
            '{namespace=~"$installation"}, algorithm)',
        ),
    ),
    rows=[POINTS, TIME, STOPPING],
)
