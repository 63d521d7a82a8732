"""`manage.py make_data`: input files from a seed, as large as wanted."""

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from showcase.data import DataFileError, expected_path, make_measurements, make_orders
from showcase.data.measurements import FORMATS
from showcase.data.orders import DELIMITERS, ENCODINGS

__all__ = ["Command"]

KINDS = ("orders", "measurements")
OF_ORDERS = ("encoding", "delimiter", "clean")
OF_MEASUREMENTS = ("format",)


class Command(BaseCommand):
    """Writes a file of orders or measurements and, beside it, what is to be found in it."""

    help = "Make an input file from a seed, with its expected findings beside it."
    # It needs no database.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--kind", choices=KINDS, default="orders", help="what to make (default: orders)")
        parser.add_argument(
            "--rows", type=int, required=True, help="records after the header; orders have about 100 bytes each"
        )
        parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same file (default: 1)")
        parser.add_argument("--encoding", choices=ENCODINGS, help="of orders (default: utf-8)")
        parser.add_argument("--delimiter", choices=tuple(DELIMITERS), help="of orders (default: a comma)")
        parser.add_argument(
            "--clean", action="store_true", default=None, help="orders with nothing to reject or to tidy"
        )
        parser.add_argument("--format", choices=FORMATS, help="of measurements (default: csv)")
        parser.add_argument("--output", type=Path, help="default: orders.csv, measurements.csv or .parquet, here")
        parser.add_argument("--force", action="store_true", help="write over a file that exists")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Raises `CommandError` where the file cannot be made as asked."""
        kind = options["kind"]
        for name in OF_ORDERS if kind == "measurements" else OF_MEASUREMENTS:
            if options[name] is not None:
                raise CommandError(f"--{name} is nothing that {kind} have: leave it out.")
        try:
            path, findings = _make_orders(options) if kind == "orders" else _make_measurements(options)
        except DataFileError as error:
            raise CommandError(str(error)) from error
        counted = ", ".join(
            f"{findings[name]:,} {name}" for name in ("rows", "accepted", "rejected") if name in findings
        )
        self.stdout.write(f"{path}: {counted}, {path.stat().st_size:,} bytes; findings in {expected_path(path)}")


def _make_orders(options: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    path = options["output"] or Path("orders.csv")
    findings = make_orders(
        path,
        rows=options["rows"],
        seed=options["seed"],
        encoding=options["encoding"] or "utf-8",
        delimiter=options["delimiter"] or ",",
        clean=bool(options["clean"]),
        force=options["force"],
    )
    return path, findings


def _make_measurements(options: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    file_format = options["format"] or "csv"
    path = options["output"] or Path(f"measurements.{file_format}")
    findings = make_measurements(
        path, rows=options["rows"], seed=options["seed"], file_format=file_format, force=options["force"]
    )
    return path, findings
