"""What a process trial costs the store and the bus, counted at the ports."""

from collections import Counter
from dataclasses import replace

from trialbus.contracts.envelope import decode_event
from trialbus.kernel.events import EVENT_TYPES
from trialbus.testkit.law_probes import Play, echo
from trialbus.testkit.scenario import FAIR, Outcome

TRIALS = 200
# The architecture's figures, per process trial.
WRITES = 7
WAKE_UPS = 3
STORY = replace(FAIR, names=("plain",), trials=TRIALS, parallel=8, program=echo)


def wake_ups(outcome: Outcome) -> Counter[str]:
    """Messages that some service listens to, by type."""
    types = Counter(decode_event(message).type for message in outcome.world.published)
    return Counter({it: count for it, count in types.items() if EVENT_TYPES[it].consumers})


def test_a_process_trial_costs_at_most_seven_writes_and_three_wake_ups(play: Play) -> None:
    outcome = play(0, STORY)
    [state] = outcome.experiments
    assert state.counts.succeeded == TRIALS
    writes = outcome.world.store.writes
    per_trial = {" ".join(key): count / TRIALS for key, count in sorted(writes.items())}
    assert sum(writes.values()) <= WRITES * TRIALS, per_trial
    messages = wake_ups(outcome)
    assert messages.total() <= WAKE_UPS * TRIALS, messages


def test_what_is_counted_is_all_that_happens(play: Play) -> None:
    """Every trial's own documents are among the counted writes."""
    writes = play(0, replace(STORY, trials=20)).world.store.writes
    assert writes["trials", "insert"] == writes["trials", "replace"] == 20
    assert writes["runs", "insert"] == writes["runs", "replace"] == 20
    assert writes["chunks", "insert"] >= 20
    assert writes["experiments", "insert"] == 1
