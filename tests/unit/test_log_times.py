"""When a run wrote what, from when its metrics were stored."""

from hypothesis import given
from hypothesis import strategies as st

from trialbus_gateway.core.log_times import LogTimes, Stretch

STRETCHES = st.lists(
    st.builds(Stretch, to_byte=st.integers(0, 50), at=st.floats(0, 9, allow_nan=False)), max_size=8
)


def test_a_byte_was_written_when_the_stretch_that_covers_it_was_stored() -> None:
    times = LogTimes([Stretch(to_byte=20, at=7.0), Stretch(to_byte=10, at=5.0)])
    assert [times.of(byte) for byte in (0, 9, 10, 19, 20)] == [5.0, 5.0, 7.0, 7.0, None]
    assert LogTimes().of(0) is None


@given(STRETCHES)
def test_a_later_byte_never_has_an_earlier_time(stretches: list[Stretch]) -> None:
    times = LogTimes(stretches)
    told = [at for at in map(times.of, range(60)) if at is not None]
    assert told == sorted(told)
    assert len(told) == max((stretch.to_byte for stretch in stretches), default=0)
