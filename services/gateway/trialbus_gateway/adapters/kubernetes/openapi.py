"""The schemas, for clients that check or explain."""

from starlette.routing import Route


class OpenApi:
    def routes(self) -> list[Route]:
        return []
