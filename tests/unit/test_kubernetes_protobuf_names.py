"""Names in Kubernetes' protobuf, whatever the bytes are."""

import time

import pytest

from trialbus_gateway.adapters.kubernetes.protobuf_names import name_in

# Unknown{typeMeta, raw: Namespace{metadata: ObjectMeta{name: "new"}}}.
WHOLE = b"k8s\x00" + b"\x0a\x0f\x0a\x02v1\x12\x09Namespace" + b"\x12\x07\x0a\x05\x0a\x03new"


def test_the_name_is_found_and_other_bodies_have_none() -> None:
    assert name_in(WHOLE) == "new"
    assert name_in(WHOLE[4:]) is None
    for length in range(4, len(WHOLE) - 3):
        assert name_in(WHOLE[:length]) in (None, "")


@pytest.mark.parametrize("filling", [b"\xff", b"\x80", b"\x0a\xff", b"\x08\xff", b"\x0d"])
def test_a_body_of_a_megabyte_is_read_at_once_whatever_it_holds(filling: bytes) -> None:
    body = b"k8s\x00" + filling * (2**20 // len(filling))
    start = time.process_time()
    found = name_in(body)
    assert time.process_time() - start < 2.0
    assert not found
