"""The work of the files pipeline, apart from Django: paths in, paths and small dicts out.

The same input gives the same files and the same dicts, byte for byte, whatever the number of threads.
"""

from showcase.files.pipeline.charting import chart
from showcase.files.pipeline.processing import process
from showcase.files.pipeline.validation import validate

__all__ = ["chart", "process", "validate"]
