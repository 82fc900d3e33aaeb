"""The one exception that crosses the protocol.

Whatever a person can act upon is raised as :class:`WorkerError`; the protocol turns
it into ``{"code", "message", "hint"}``. Everything else is a bug and is reported with
the code ``INTERNAL``.
"""

from __future__ import annotations


class WorkerError(Exception):
    """An error with a stable code, what could not be done, and what is wanted."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, str]:
        """The error as it travels in a protocol answer."""
        return {"code": self.code, "message": self.message, "hint": self.hint}
