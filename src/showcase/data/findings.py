"""The findings that the made orders are expected to give, counted as they are written."""

import re
from collections.abc import Sequence
from typing import Any

from showcase.data.exact import Summary
from showcase.data.mess import COLUMNS

__all__ = ["NUMBERS", "Findings"]

MOST_LINES = 1000
TOP = 10
NUMBERS = ("order_id", "quantity", "unit_price")
# All numbers that are written have at most three decimals.
SCALE = 1000
CENT = SCALE // 100
NUMBER = re.compile(r"-?[0-9]+(?:[.,][0-9]{1,3})?")

type Sums = dict[str, list[int]]
"""Orders and cents by name."""


class Findings:
    """Takes each record as it is written; its memory does not grow with the file."""

    def __init__(self) -> None:
        self.kinds: dict[str, int] = {}
        self.lines: list[dict[str, Any]] = []
        self.months: Sums = {}
        self.countries: Sums = {}
        self.products: Sums = {}
        self.customers: Sums = {}
        self.first = "9"
        self.last = ""
        self.missing = dict.fromkeys(COLUMNS, 0)
        self.numbers = [Summary(scale=SCALE) for _ in NUMBERS]
        self.orders = 0
        self.revenue = 0
        self.records = 0

    def accept(
        self,
        *,
        number: int,
        day: str,
        month: str,
        customer: str,
        country: str,
        product: str,
        quantity: int,
        cents: int,
        email: str,
        note: str,
    ) -> None:
        """Take in a good order."""
        revenue = quantity * cents
        self.orders += 1
        self.revenue += revenue
        self.first = min(self.first, day)
        self.last = max(self.last, day)
        for sums, name in (
            (self.months, month),
            (self.countries, country),
            (self.products, product),
            (self.customers, customer),
        ):
            found = sums.get(name)
            if found is None:
                sums[name] = [1, revenue]
            else:
                found[0] += 1
                found[1] += revenue
        self.records += 1
        self.missing["email"] += not email
        self.missing["note"] += not note
        numbers = self.numbers
        numbers[0].add(number * SCALE)
        numbers[1].add(quantity * SCALE)
        numbers[2].add(cents * CENT)

    def reject(self, line: int, kind: str) -> None:
        """Take in a record that starts on this line and cannot be accepted."""
        self.kinds[kind] = self.kinds.get(kind, 0) + 1
        if len(self.lines) < MOST_LINES:
            self.lines.append({"line": line, "kind": kind})

    def describe(self, values: Sequence[str]) -> None:
        """Take in the values of a rejected record that has the right number of them."""
        self.records += 1
        for column, value in zip(COLUMNS, values, strict=True):
            self.missing[column] += not value
        for column, summary in zip(NUMBERS, self.numbers, strict=True):
            if (units := _units(values[COLUMNS.index(column)])) is not None:
                summary.add(units)

    def as_dict(self) -> dict[str, Any]:
        """All of it, in the form that `make_orders` documents."""
        rejected = sum(self.kinds.values())
        return {
            "rows": self.orders + rejected,
            "accepted": self.orders,
            "rejected": rejected,
            "kinds": dict(sorted(self.kinds.items())),
            "lines": {"rejected": self.lines},
            "orders": self.orders,
            "revenue_cents": self.revenue,
            "first": self.first if self.orders else None,
            "last": self.last if self.orders else None,
            "customers": len(self.customers),
            "by_month": _by_name(self.months),
            "by_country": _by_name(self.countries),
            "top_products": _top(self.products, "product"),
            "top_customers": _top(self.customers, "customer"),
            "columns": self._columns(),
        }

    def _columns(self) -> dict[str, Any]:
        columns: dict[str, Any] = {
            column: {"records": self.records, "missing": missing} for column, missing in self.missing.items()
        }
        for column, summary in zip(NUMBERS, self.numbers, strict=True):
            unparsed = self.records - self.missing[column] - summary.count
            columns[column] |= {"unparsed": unparsed, **summary.as_dict()}
        return columns


def _units(value: str) -> int | None:
    """The thousandths of a number, None where it is none."""
    if not NUMBER.fullmatch(value):
        return None
    whole, _, decimals = value.replace(",", ".").partition(".")
    return int(whole + decimals.ljust(3, "0"))


def _by_name(sums: Sums) -> dict[str, dict[str, int]]:
    return {name: {"orders": orders, "revenue_cents": cents} for name, (orders, cents) in sorted(sums.items())}


def _top(sums: Sums, named: str) -> list[dict[str, Any]]:
    """Those with the most revenue; of equal ones, the first by name."""
    ranked = sorted(sums.items(), key=lambda item: (-item[1][1], item[0]))
    return [{named: name, "orders": orders, "revenue_cents": cents} for name, (orders, cents) in ranked[:TOP]]
