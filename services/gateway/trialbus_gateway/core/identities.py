"""Who is at the door, and what that one may do: tenants are namespaces."""

from dataclasses import dataclass

from trialbus.kernel.access import ALLOWED, Action, Role, TrialGrant


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """name: for people and limits, unique over all ways to prove it. by: which way that was.
    namespaces: None is every one. expires_at: seconds since the epoch. trial: of a trial's own
    token, which is good for nothing else."""

    name: str
    by: str
    role: Role
    namespaces: frozenset[str] | None
    expires_at: float | None = None
    trial: TrialGrant | None = None

    @property
    def is_limited(self) -> bool:
        return self.namespaces is not None

    def sees(self, namespace: str) -> bool:
        return self.namespaces is None or namespace in self.namespaces

    def may(self, action: Action) -> bool:
        return action in ALLOWED[self.role]


# Whoever reaches a gateway on loopback that asks for no tokens; and the gateway itself.
ANYBODY = Identity(name="anybody", by="loopback", role=Role.ADMIN, namespaces=None)


def of_trial(grant: TrialGrant) -> Identity:
    return Identity(
        name=f"trial:{grant.uid}.{grant.index}.{grant.attempt}",
        by="trial token",
        role=Role.TRIAL,
        namespaces=frozenset({grant.namespace}),
        trial=grant,
    )
