"""Conversations, driven by a thread that may block."""

import time
from collections.abc import Callable
from typing import TypeVar

from trialbus.client.calls import Answer, Call, Flow, Send
from trialbus.client.failures import Unavailable

T = TypeVar("T")


def drive(flow: Flow[T], send: Callable[[Call, float], Answer]) -> T:
    """To its end. send: raises Unavailable, which the conversation hears."""
    answer: Answer | None = None
    failure: Unavailable | None = None
    while True:
        try:
            step = flow.send(answer) if failure is None else flow.throw(failure)
        except StopIteration as end:
            result: T = end.value
            return result
        answer = failure = None
        if isinstance(step, Send):
            try:
                answer = send(step.call, step.timeout_s)
            except Unavailable as error:
                failure = error
        else:
            time.sleep(step.seconds)
