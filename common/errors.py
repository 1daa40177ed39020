"""The errors that fellrec raises on purpose.

Each says what is wrong (naming the field and the value) and how to mend it. Errors of lower libraries
(gRPC, Flower, PEFT, safetensors) are mapped to these once, at the edge where they arise.
"""

from __future__ import annotations


class FellrecError(Exception):
    """Base class: a message, a remedy and a stable code.

    Parameters
    ----------
    message : what is wrong, naming the field and the value (with ``!r``).
    hint : what the reader can do about it.
    """

    code = "FR000"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        remedy = f" ({self.hint})" if self.hint else ""
        return f"[{self.code}] {self.message}{remedy}"

    def __reduce__(self) -> tuple[type[FellrecError], tuple[str, ...]]:
        return type(self), (self.message, self.hint)


class ConfigError(FellrecError):
    """A setting is unknown, of the wrong type, out of range, or conflicts with another."""

    code = "FR100"


class DataError(FellrecError):
    """Input data is missing, malformed past the limit, or cannot support what is asked of it."""

    code = "FR200"


class ModelError(FellrecError):
    """A model cannot be found, loaded, cut or adapted as asked."""

    code = "FR300"


class MessageError(FellrecError):
    """A message between the server and a client is not what it must be."""

    code = "FR400"


class GuardError(FellrecError):
    """A client's update is out of all proportion to the others' of its round."""

    code = "FR450"


class OutboxError(FellrecError):
    """A client was about to send what may not leave it."""

    code = "FR500"


class RunError(FellrecError):
    """A run cannot start, go on, or be found."""

    code = "FR600"


class SplitError(FellrecError):
    """The split service refused a request, or could not be reached."""

    code = "FR700"


class RequestError(FellrecError):
    """A request to an HTTP interface is not what it must be, comes from elsewhere, or comes too often."""

    code = "FR800"
