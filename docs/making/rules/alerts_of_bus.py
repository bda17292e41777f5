"""Alerts on messages: those that wait, those that are lost, those that nobody can read."""

from making.rules.rule import Alert, Group, fires, silent
from making.rules.series import series

_LAG = "trialbus_consumer_pending_messages"
_HINTS = "trialbus_hints_total"
_RECONNECTS = "trialbus_bus_reconnects_total"
_EXPERIMENT = {"service": "experiment"}


def _lag(lag: str, hints: str) -> dict[str, str]:
    return series(_LAG, "experiment", lag) | series(_HINTS, "experiment", hints, source="bus")


def _requests(*, failed: str, asked: str = "0+100x20") -> dict[str, str]:
    every = series("trialbus_bus_request_seconds_count", "gateway", asked, kind="apply")
    name = "trialbus_bus_request_failures_total"
    return every | series(name, "gateway", failed, kind="apply")


def _repairs(what: str, repairs: str, *, hints: str) -> dict[str, str]:
    repaired = series("trialbus_sweep_repairs_total", "experiment", repairs, what=what)
    return repaired | series(_HINTS, "experiment", hints, source="bus")


def _redeliveries(came: str, *, asked: str) -> dict[str, str]:
    again = series("trialbus_redeliveries_total", "experiment", came)
    return again | series("trialbus_retries_asked_total", "experiment", asked)


def _reconnects(each: str, *, replicas: int) -> dict[str, str]:
    return {
        name: values
        for it in range(replicas)
        for name, values in series(_RECONNECTS, "experiment", each, instance=f"{it}:1").items()
    }


BUS = Group(
    name="trialbus-bus",
    rules=(
        Alert(
            name="TrialbusLagGrowing",
            expr="trialbus:consumer_lag_messages:max > 1000"
            " and deriv(trialbus:consumer_lag_messages:max[10m]) > 0",
            severity="warning",
            minutes=10,
            summary="{{ $labels.service }} falls behind.",
            description="{{ $value | humanize }} messages wait for {{ $labels.service }}, and they "
            "become more.",
            cases=(
                fires(_lag("0+200x40", "0+1000x40"), 30, _EXPERIMENT),
                # A burst that is worked off.
                silent(_lag("4000-100x40", "0+1000x40"), 25),
            ),
        ),
        Alert(
            name="TrialbusConsumerStuck",
            # What waits for the gateway are webhooks' events, which are no hints.
            expr='min_over_time(trialbus:consumer_lag_messages:max{service!="gateway"}[5m]) > 0'
            " and on (namespace, service) sum by (namespace, service)"
            ' (rate(trialbus_hints_total{source="bus"}[5m])) == 0',
            severity="critical",
            minutes=5,
            summary="{{ $labels.service }} takes no messages, though some wait.",
            description="At least {{ $value | humanize }} messages wait for {{ $labels.service }}, "
            "and in 5 minutes it has taken none.",
            cases=(
                # Sweeps go on.
                fires(
                    _lag("0x5 40x30", "0+100x5 500x30")
                    | series(_HINTS, "experiment", "0+5x40", source="sweep"),
                    25,
                    _EXPERIMENT,
                ),
                silent(_lag("40x30", "0+1x30"), 25),
            ),
        ),
        Alert(
            name="TrialbusRedeliveries",
            # Those that were given back on purpose may come again at another replica.
            expr="(sum by (namespace, service) (rate(trialbus_redeliveries_total[15m]))"
            " - sum by (namespace, service) (rate(trialbus_retries_asked_total[15m]))) * 60 > 10",
            severity="warning",
            minutes=15,
            summary="Messages come to {{ $labels.service }} again and again.",
            description="{{ $value | humanize }} messages a minute are given to "
            "{{ $labels.service }} once more, because it did not answer in time.",
            cases=(
                fires(
                    _redeliveries("0+30x60", asked="0+10x60"),
                    40,
                    _EXPERIMENT,
                ),
                # A replica was killed, and what it had in hand comes again.
                silent(_redeliveries("0x5 120x60", asked="0x60"), 30),
                # MongoDB is away: all is tried again and again.
                silent(_redeliveries("0+60x60", asked="0+60x60"), 40),
            ),
        ),
        Alert(
            name="TrialbusDeadLetters",
            expr="sum by (namespace, service) (increase(trialbus_dead_letters_total[15m])) > 0",
            severity="warning",
            minutes=0,
            summary="{{ $labels.service }} has messages that it can never handle.",
            description="{{ $value | humanize }} messages of the last 15 minutes are nothing that "
            "{{ $labels.service }} can ever handle.",
            cases=(
                fires(
                    series("trialbus_dead_letters_total", "experiment", "0x10 1x20"),
                    12,
                    _EXPERIMENT,
                ),
                silent(series("trialbus_dead_letters_total", "experiment", "0x10 1x40"), 40),
            ),
        ),
        Alert(
            name="TrialbusOutboxStuck",
            expr="trialbus:outbox_oldest_seconds:max > 60",
            severity="critical",
            minutes=2,
            summary="Events of {{ $labels.service }} do not get out.",
            description="The oldest event of {{ $labels.service }} that the stream has not taken "
            "waits for {{ $value | humanizeDuration }}.",
            cases=(
                fires(
                    series("trialbus_outbox_oldest_seconds", "experiment", "0x5 0+60x20"),
                    15,
                    _EXPERIMENT,
                ),
                silent(series("trialbus_outbox_oldest_seconds", "experiment", "5x30"), 15),
            ),
        ),
        Alert(
            name="TrialbusMessagesLost",
            # One in a hundred, too: where very much is done, a sweep is now and then the quicker.
            expr="sum by (namespace, service, what)"
            " (increase(trialbus_sweep_repairs_total[15m])) > 10"
            " > on (namespace, service) group_left () 0.01 * sum by (namespace, service)"
            ' (increase(trialbus_hints_total{source="bus"}[15m]))',
            severity="warning",
            minutes=5,
            summary="Sweeps of {{ $labels.service }} repair what messages should have said.",
            description="{{ $value | humanize }} times in 15 minutes a sweep of "
            "{{ $labels.service }} repaired what no message had told of: {{ $labels.what }}.",
            cases=(
                fires(
                    _repairs("experiment", "0+2x40", hints="0+100x40"),
                    25,
                    {**_EXPERIMENT, "what": "experiment"},
                ),
                # Every one is lost.
                fires(
                    _repairs("event", "0+2x40", hints="0x40"),
                    25,
                    {**_EXPERIMENT, "what": "event"},
                ),
                silent(_repairs("event", "0x9 3x30", hints="0+1x40"), 25),
                silent(_repairs("experiment", "0+2x40", hints="0+1000x40"), 25),
            ),
        ),
        Alert(
            name="TrialbusBusReconnecting",
            # Of one process: a restart of nats-server breaks one connection of each replica.
            expr="max by (namespace, service) (increase(trialbus_bus_reconnects_total[15m])) > 3",
            severity="warning",
            minutes=0,
            summary="{{ $labels.service }} loses nats-server again and again.",
            description="A process of {{ $labels.service }} has connected to nats-server "
            "{{ $value | humanize }} times within 15 minutes.",
            cases=(
                fires(
                    _reconnects("0x20", replicas=3) | series(_RECONNECTS, "experiment", "0+1x20"),
                    15,
                    _EXPERIMENT,
                ),
                # nats-server was started anew.
                silent(_reconnects("0x5 1x20", replicas=8), 15),
            ),
        ),
        Alert(
            name="TrialbusRequestsFailing",
            expr="trialbus:service_request_failures:ratio_rate5m > 0.05"
            " and sum by (namespace, service)"
            " (rate(trialbus_bus_request_failures_total[5m])) * 60 > 1",
            severity="warning",
            minutes=5,
            summary="{{ $labels.service }} gets no answers from other services.",
            description="{{ $value | humanizePercentage }} of what {{ $labels.service }} asks over "
            "the bus is not answered in time.",
            cases=(
                fires(_requests(failed="0+20x20"), 15, {"service": "gateway"}),
                silent(_requests(failed="0+1x20"), 15),
                # One of few, though it lasts for as long as the window.
                silent(_requests(failed="0+0.5x20", asked="0+1x20"), 15),
            ),
        ),
    ),
)
