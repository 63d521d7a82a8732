"""Reading messy CSV exactly: each record is either a row or rejected with its reason, and none is lost."""

from showcase.tabular.dialect import Dialect, sniff
from showcase.tabular.exceptions import UnreadableFileError
from showcase.tabular.records import Chunk, Rejected, chunks

__all__ = ["Chunk", "Dialect", "Rejected", "UnreadableFileError", "chunks", "sniff"]
