"""Keys and names: built and parsed in one place, the same on every machine."""

import pytest

from trialbus.kernel import ids
from trialbus.kernel.ids import RunKey

UID = "7d444840-9dc0-11d1-b245-5ffdce74fad2"


def test_keys_look_as_their_documents_say() -> None:
    assert ids.trial_id("u", 7) == "u.7"
    assert ids.run_id("u", 7, 2) == "u.7.2"
    assert ids.answer_id("u", 3) == "u:3"
    assert ids.chunk_id("u.7.2", 45) == "u.7.2@000000000000045"


def test_a_run_id_is_read_back() -> None:
    key = RunKey(UID, 12, 3)
    assert ids.parse_run_id(str(key)) == key
    assert ids.parse_run_id("a.b.1.2") == RunKey("a.b", 1, 2)


@pytest.mark.parametrize("text", ["", "u", "u.1", "u.x.1", "u.1.x"])
def test_what_is_no_run_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ids.parse_run_id(text)


def test_chunk_ids_sort_by_their_position() -> None:
    positions = [0, 9, 10, 99_999, 10**14]
    chunks = [ids.chunk_id("u.1.1", position) for position in positions]
    assert sorted(chunks) == chunks


def test_trial_names_are_distinct_within_an_experiment_and_between_namesakes() -> None:
    names = {ids.trial_name("exp", uid, index) for uid in ("one", "two") for index in range(2000)}
    assert len(names) == 4000
    assert all(ids.is_name(name) for name in names)


def test_a_trial_name_is_stable_and_says_its_experiment() -> None:
    """Written out: other versions and machines must make the same."""
    assert ids.trial_name("exp", "u", 0) == "exp-nv97l4mx"
    assert len(ids.trial_name("exp", UID, 5)) == len("exp-") + 8


@pytest.mark.parametrize("text", ["a", "a-b", "9", "a" * 63])
def test_dns_labels_are_names(text: str) -> None:
    assert ids.is_name(text)


@pytest.mark.parametrize("text", ["", "A", "-a", "a-", "a_b", "a.b", "a b", "a\n", "ä", "a" * 64])
def test_other_texts_are_no_names(text: str) -> None:
    assert not ids.is_name(text)


def test_seeds_come_from_the_text_and_fit_a_signed_number() -> None:
    # The first eight bytes of SHA-256 of "abc", halved.
    assert ids.seed_of("abc") == 0xBA7816BF8F01CFEA >> 1
    assert all(0 <= ids.seed_of(str(number)) < 2**63 for number in range(100))
