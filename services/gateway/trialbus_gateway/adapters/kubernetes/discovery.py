"""What there is: the documents that Kubernetes' clients begin with."""

from starlette.routing import Route


class Discovery:
    def routes(self) -> list[Route]:
        return []
