"""Why a stack does not start."""


class FolderInUse(RuntimeError):
    """Another supervisor lives on the data folder."""


class StackFailed(RuntimeError):
    """The servers could not be started. The text says why, one problem a line."""
