"""How an objective wants to be called: found out once, before anything starts."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

TRIAL = "trial"
Objective = Callable[..., Any]
# Called with the parameters and the trial.
Caller = Callable[[Mapping[str, Any], Any], Any]


def caller_of(objective: Objective, names: Sequence[str]) -> Caller:
    """By its signature: `f(lr, layers)` with the parameters by name, `f(parameters)` with all of
    them in a dict, either with `trial` if it has such a parameter. Raises TypeError."""
    try:
        takes = inspect.signature(objective).parameters
    except (TypeError, ValueError):
        # Some builtins do not tell.
        return lambda parameters, _trial: objective(**parameters)
    wants_trial = TRIAL in takes and TRIAL not in names
    rest = [it for name, it in takes.items() if not (wants_trial and name == TRIAL)]
    takes_any = any(it.kind is inspect.Parameter.VAR_KEYWORD for it in rest)
    named = {it.name for it in rest if it.kind in _BY_NAME}
    required = [it for it in rest if it.default is inspect.Parameter.empty and it.kind in _NEEDED]

    def more(trial: Any) -> dict[str, Any]:
        return {TRIAL: trial} if wants_trial else {}

    if (takes_any or set(names) <= named) and {it.name for it in required} <= set(names):
        return lambda parameters, trial: objective(**parameters, **more(trial))
    if len(required) == 1 and required[0].kind in _BY_PLACE and required[0].name not in names:
        return lambda parameters, trial: objective(dict(parameters), **more(trial))
    name = getattr(objective, "__name__", repr(objective))
    raise TypeError(
        f"{name}{inspect.signature(objective)} can be called neither with the parameters "
        f"{', '.join(names)} by name nor with one dict of them"
    )


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_BY_PLACE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NEEDED = (*_BY_PLACE, inspect.Parameter.KEYWORD_ONLY)
