"""What can go wrong with the node, in words for who runs it."""

__all__ = ["NodeError"]


class NodeError(Exception):
    """The node cannot do what was asked; the message names what is missing and the way out."""
