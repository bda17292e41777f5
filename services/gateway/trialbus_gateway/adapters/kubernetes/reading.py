"""Get and list."""

from starlette.routing import Route

from trialbus_gateway.app.changes import Changes


class Reading:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    def routes(self) -> list[Route]:
        return []
