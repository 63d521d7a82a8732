"""What the embedded stack raises."""

from tandem.exceptions import TandemError

__all__ = ["StackError"]


class StackError(TandemError):
    """The stack cannot start, or a part of it did not get ready; the message names the part and the way out."""
