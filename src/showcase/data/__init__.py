"""Input files that the project makes itself from a seed, with what is to be found in them."""

from pathlib import Path

from showcase.data.measurements import make_measurements
from showcase.data.orders import make_orders
from showcase.data.output import DataFileError, expected_path

__all__ = ["DataFileError", "expected_path", "make_measurements", "make_orders", "samples"]


def samples() -> dict[str, Path]:
    """The small files that come with the showcase, by file name."""
    folder = Path(__file__).with_name("samples")
    return {path.name: path for path in sorted(folder.iterdir()) if path.suffix in {".csv", ".parquet"}}
