"""What goes wrong with a file as a whole."""

__all__ = ["UnreadableFileError"]


class UnreadableFileError(ValueError):
    """The file as a whole cannot be used; the message tells its user why and what to change."""
