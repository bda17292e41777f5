"""Whether a cluster can run an experiment's trials: its launcher is asked before it is taken."""

from trialbus.contracts import subjects
from trialbus.contracts.katib.spec import ParsedExperiment
from trialbus.contracts.template_checks import TemplateCheck, TemplateCheckReply
from trialbus.kernel.errors import Poison, Refused, Transient
from trialbus.kernel.limits import CLUSTER_CHECK_DEADLINE_S
from trialbus.kernel.spec import TrialsBy
from trialbus.ports.bus import Request
from trialbus.runtime.parts import Parts


async def check_runnable(parts: Parts, parsed: ParsedExperiment) -> None:
    """Raises Refused with what the cluster says. A launcher that does not answer objects to
    nothing: what it would have said is told when the trials begin."""
    if parsed.spec.trials_by is not TrialsBy.LAUNCHER:
        return
    check = TemplateCheck.of(parsed.namespace, parsed.name, parsed.spec)
    try:
        request = Request(
            subject=subjects.check(parsed.namespace, parsed.name), data=check.to_bytes()
        )
        answer = await parts.bus.request(request, timeout_s=CLUSTER_CHECK_DEADLINE_S)
        reply = TemplateCheckReply.from_bytes(answer)
    except (Transient, Poison):
        return
    if reply.problems:
        raise Refused(reply.refusals())
