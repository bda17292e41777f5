"""A stopping rule that failed, as a step of its experiment's story."""

from dataclasses import replace

from trialbus.kernel.evidence import RuleFailure
from trialbus_gateway.core.stories import Step, Story, in_order

RULE_FAILED = "stopping rule failed"


def with_rule_failure(story: Story, failure: RuleFailure | None) -> Story:
    if failure is None:
        return story
    step = Step(
        at=failure.failed_at,
        event=RULE_FAILED,
        reason="StoppingRuleFailed",
        message=f"{failure.rule} stops no more trials of this experiment: {failure.reason}",
    )
    return replace(story, chain=in_order([*story.chain, step]))
