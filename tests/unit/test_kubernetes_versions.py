"""Resource versions, and the log of changes that watches read."""

import pytest

from trialbus_gateway.core.change_log import Change, ChangeLog, ChangeType, Forgotten, Kind
from trialbus_gateway.core.resource_versions import Ticks, edited_since, tick_of, version_of

NOW = 1_790_000_000.123


def view(**metadata: object) -> dict[str, object]:
    return {"metadata": {"name": "tune", **metadata}, "spec": {"max": 1}, "status": {"n": 1}}


def change(tick: int) -> Change:
    return Change(
        tick=tick, type=ChangeType.ADDED, kind=Kind.TRIALS, view={"metadata": {}}, before=None
    )


def test_ticks_grow_although_the_clock_stands_still_or_goes_back() -> None:
    ticks = Ticks()
    given = [ticks.next(now, 5) for now in (NOW, NOW, NOW - 60, NOW + 1)]
    assert given == sorted(set(given))
    assert given[0] == (1_790_000_000_123 << 6) + 5


def test_a_version_fits_into_63_bits_and_gives_its_tick_back() -> None:
    tick = Ticks().next(2_199_000_000.0, 63)
    assert int(version_of(tick, view())) < 2**63
    assert tick_of(version_of(tick, view())) == tick_of(version_of(tick)) == tick


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "9" * 20, "٣"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="not a resource version"):
        tick_of(text)
    assert edited_since(view(), text)


def test_a_status_that_moved_on_is_no_edit() -> None:
    version = version_of(7, view())
    assert not edited_since({**view(), "status": {"n": 2}}, version)
    assert not edited_since(view(resourceVersion="1", managedFields=[{}]), version)


def test_spec_labels_and_generation_are_edits() -> None:
    version = version_of(7, view())
    assert edited_since({**view(), "spec": {"max": 2}}, version)
    assert edited_since(view(labels={"a": "b"}), version)
    assert edited_since(view(generation=2), version)


def test_the_log_gives_what_came_after_in_order() -> None:
    log = ChangeLog(10, capacity=8)
    for tick in (11, 14, 20):
        log.append(change(tick))
    assert [it.tick for it in log.after(10, 9)] == [11, 14, 20]
    assert [it.tick for it in log.after(11, 1)] == [14]
    assert log.after(20, 9) == []
    assert log.newest == 20


@pytest.mark.parametrize("tick", [9, 12, 21])
def test_a_tick_that_was_never_given_out_is_not_known(tick: int) -> None:
    log = ChangeLog(10, capacity=8)
    for known in (11, 14, 20):
        log.append(change(known))
    with pytest.raises(Forgotten):
        log.after(tick, 9)


def test_the_log_forgets_the_oldest_and_knows_that_it_did() -> None:
    log = ChangeLog(0, capacity=3)
    for tick in range(1, 8):
        log.append(change(tick))
    assert not log.knows(0)
    assert not log.knows(2)
    assert [it.tick for it in log.after(3, 9)] == [4, 5, 6, 7]


def test_large_changes_are_forgotten_sooner() -> None:
    log = ChangeLog(0, capacity=100, max_size=10)
    for tick in range(1, 21):
        log.append(change(tick), size=2)
    # Of 20 times 2 no more than twice the limit is kept at any time.
    assert not log.knows(5)
    assert len(log.after(log.newest - 4, 99)) == 4
    log.append(change(21), size=1000)
    assert log.after(20, 9)[0].tick == 21
    log.append(change(22), size=1)
    assert log.newest == 22
    assert not log.knows(20)
