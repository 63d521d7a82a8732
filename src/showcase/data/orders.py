"""Making a file of orders from a seed: a CSV as people send them, and what is to be found in it."""

from bisect import bisect
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from showcase.data import texts
from showcase.data.draws import Draws
from showcase.data.findings import Findings
from showcase.data.mess import BAD, BAD_SHARE, COLUMNS, CUMULATIVE, DRESS, KINDS, LONG_FIELD
from showcase.data.output import DataFileError, check_free, check_rows, replacing, write_expected, write_text

__all__ = ["DELIMITERS", "ENCODINGS", "make_orders"]

ENCODINGS: Final = ("utf-8", "utf-8-sig", "utf-16", "cp1252")
DELIMITERS: Final = {",": ",", ";": ";", "tab": "\t"}
# Windows programs write these, and end lines so.
WINDOWS: Final = frozenset({"utf-16", "cp1252"})

LEAST_ROWS_FOR_ALL: Final = 100
MOST_REMEMBERED: Final = 1000
# Multiplying by any number below a prime gives each remainder once: order numbers look random and never repeat.
PRIME: Final = 9_999_999_967
GOOD: Final = "good"
# After a quote that is never closed: the rest of its field, and a record whose quotes show that it was not.
REST: Final = "rest"
CALM: Final = "calm"
CALM_NOTE: Final = texts.Text("Please ring twice", '"Please ring twice"')
NOTE_SHARE: Final = 0.4
SECOND_SHARE: Final = 0.25

ORDER_ID, ORDERED_ON, CUSTOMER, EMAIL, COUNTRY, PRODUCT, QUANTITY, UNIT_PRICE, NOTE = range(len(COLUMNS))


def make_orders(
    path: Path,
    *,
    rows: int,
    seed: int = 1,
    encoding: str = "utf-8",
    delimiter: str = ",",
    clean: bool = False,
    force: bool = False,
) -> dict[str, Any]:
    """Write a CSV of orders with so many records after its header, and beside it what is to be found; return that.

    The same arguments give the same bytes. From 100 rows on there is at least one record of every kind of rejection,
    beyond that each kind has its share of `showcase.data.mess`; a `clean` file has nothing to reject or to tidy.
    `delimiter` is a comma, a semicolon or "tab". The README beside this module says what each finding means.

    Raises `DataFileError` for rows, an encoding or a delimiter that it does not know, for a file that exists unless
    `force` is set, and for one that cannot be written.
    """
    check_rows(rows)
    if encoding not in ENCODINGS:
        raise DataFileError(f"The encoding is {encoding!r}, but must be one of {', '.join(ENCODINGS)}.")
    if delimiter not in DELIMITERS:
        raise DataFileError(f"The delimiter is {delimiter!r}, but must be one of {' '.join(DELIMITERS)}.")
    check_free(path, force=force)
    orders = _Orders(Draws(seed), encoding=encoding, delimiter=DELIMITERS[delimiter], clean=clean)
    with replacing(path) as part:
        write_text(part, orders.lines(rows), encoding=encoding)
    made = {"rows": rows, "seed": seed, "encoding": encoding, "delimiter": delimiter, "clean": clean}
    findings = {"kind": "orders", "made": made, **orders.findings.as_dict()}
    write_expected(path, findings)
    return findings


class _Order(NamedTuple):
    number: int
    day: texts.Day
    customer: texts.Text
    email: str
    country: str
    product: texts.Text
    quantity: int
    cents: int
    note: texts.Text

    @property
    def price(self) -> str:
        return f"{self.cents // 100}.{self.cents % 100:02d}"

    @property
    def values(self) -> list[str]:
        """What the columns hold, once read."""
        return [
            str(self.number),
            self.day.iso,
            self.customer.value,
            self.email,
            self.country,
            self.product.value,
            str(self.quantity),
            self.price,
            self.note.value,
        ]


class _Orders:
    """The text of one file, record by record; `findings` is complete once the last was taken."""

    def __init__(self, draws: Draws, *, encoding: str, delimiter: str, clean: bool) -> None:
        self.findings = Findings()
        self._draws = draws
        self._delimiter = delimiter
        self._clean = clean
        self._end = "\r\n" if encoding in WINDOWS else "\n"
        self._special = texts.quoting(delimiter)
        self._customers = texts.customers(delimiter)
        self._products = texts.products(delimiter)
        self._notes = texts.notes(delimiter, wide=encoding != "cp1252", breaks=not clean)
        self._factor = 1 + draws.below(PRIME - 1)
        self._offset = draws.below(PRIME)
        self._made = 0
        # Some order numbers that were accepted, from the whole file, to be used again.
        self._accepted: list[int] = []
        self._next: deque[str] = deque()

    def lines(self, rows: int) -> Iterator[str]:
        """The header and so many records, each with its line end."""
        yield self._delimiter.join(COLUMNS) + self._end
        planted = self._planted(rows)
        line = 2
        for row in range(rows):
            if row in planted:
                self._next.append(planted[row])
            text = self._record(line, self._kind()) + self._end
            yield text
            line += text.count("\n")

    def _planted(self, rows: int) -> dict[int, str]:
        """One record of each kind, at even distances."""
        if self._clean or rows < LEAST_ROWS_FOR_ALL:
            return {}
        return {(2 * number + 1) * rows // (2 * len(KINDS)): kind for number, kind in enumerate(KINDS)}

    def _kind(self) -> str:
        if self._next:
            return self._next.popleft()
        if self._clean:
            return GOOD
        drawn = self._draws.fraction()
        return GOOD if drawn >= BAD_SHARE else KINDS[bisect(CUMULATIVE, drawn)]

    def _record(self, line: int, kind: str) -> str:
        if kind == GOOD or (kind == "duplicate" and not self._accepted):
            return self._good(self._order())
        if kind == CALM:
            return self._good(self._order()._replace(note=CALM_NOTE), dressed=False)
        if kind in BAD:
            return self._bad_value(line, kind)
        if kind == "duplicate":
            return self._duplicate(line)
        if kind == "huge field":
            return self._huge(line)
        self.findings.reject(line, "fields" if kind == REST else kind)
        return self._unreadable(kind)

    def _order(self) -> _Order:
        draws = self._draws
        number = 1 + (self._made * self._factor + self._offset) % PRIME
        self._made += 1
        customer = draws.pick(self._customers)
        product = draws.pick(self._products)
        few = draws.fraction()
        return _Order(
            number=number,
            day=draws.pick(texts.DAYS),
            customer=customer.name,
            email=customer.email,
            country=draws.pick(texts.COUNTRIES),
            product=product.name,
            quantity=1 + int(few * few * 12),
            cents=product.cents * (90 + draws.below(21)) // 100,
            note=draws.pick(self._notes) if draws.fraction() < NOTE_SHARE else texts.NO_NOTE,
        )

    def _good(self, order: _Order, *, dressed: bool = True) -> str:
        if dressed and not self._clean and self._draws.fraction() < DRESS["missing email"]:
            order = order._replace(email="")
        self.findings.accept(
            number=order.number,
            day=order.day.iso,
            month=order.day.month,
            customer=order.customer.value,
            country=order.country,
            product=order.product.value,
            quantity=order.quantity,
            cents=order.cents,
            email=order.email,
            note=order.note.value,
        )
        self._remember(order.number)
        return self._delimiter.join(self._cells(order, dressed=dressed))

    def _remember(self, number: int) -> None:
        """Keep a number with the same chance for each that was accepted so far."""
        if len(self._accepted) < MOST_REMEMBERED:
            self._accepted.append(number)
            return
        place = self._draws.below(self.findings.orders)
        if place < MOST_REMEMBERED:
            self._accepted[place] = number

    def _cells(self, order: _Order, *, dressed: bool = True) -> list[str]:
        """The columns as they are written."""
        cells = [
            str(order.number),
            order.day.iso,
            order.customer.written,
            order.email,
            order.country,
            order.product.written,
            str(order.quantity),
            order.price,
            order.note.written,
        ]
        if dressed and not self._clean:
            self._dress(cells, order)
        return cells

    def _dress(self, cells: list[str], order: _Order) -> None:
        fraction = self._draws.fraction
        if fraction() < DRESS["german date"]:
            cells[ORDERED_ON] = order.day.german
        if order.cents % 10 == 0 and fraction() < DRESS["short decimals"]:
            cells[UNIT_PRICE] = order.price[:-1] if order.cents % 100 else order.price[:-3]
        if fraction() < DRESS["decimal comma"]:
            cells[UNIT_PRICE] = texts.quoted(cells[UNIT_PRICE].replace(".", ","), self._special)
        if fraction() < DRESS["lower-case country"]:
            cells[COUNTRY] = order.country.lower()
        if fraction() < DRESS["blanks"]:
            place = self._draws.below(len(cells))
            cell = cells[place]
            cells[place] = f'" {cell[1:-1]} "' if cell.startswith('"') else f" {cell}  "

    def _bad_value(self, line: int, column: str) -> str:
        """A record with a bad value in a column, now and then with one in a later column too."""
        order = self._order()
        values, cells = order.values, self._cells(order)
        place = COLUMNS.index(column)
        places = [place]
        if self._draws.fraction() < SECOND_SHARE and place < UNIT_PRICE:
            places.append(place + 1 + self._draws.below(UNIT_PRICE - place))
        for wrong in places:
            values[wrong] = self._draws.pick(BAD[COLUMNS[wrong]])
            cells[wrong] = texts.quoted(values[wrong], self._special)
        self.findings.reject(line, column)
        self.findings.describe(values)
        return self._delimiter.join(cells)

    def _duplicate(self, line: int) -> str:
        order = self._order()._replace(number=self._draws.pick(self._accepted))
        self.findings.reject(line, "duplicate")
        self.findings.describe(order.values)
        return self._delimiter.join(self._cells(order))

    def _huge(self, line: int) -> str:
        order = self._order()._replace(note=texts.Text("x" * LONG_FIELD, "x" * LONG_FIELD))
        self.findings.reject(line, "huge field")
        self.findings.describe(order.values)
        return self._delimiter.join(self._cells(order, dressed=False))

    def _unreadable(self, kind: str) -> str:
        """A line that has not the form of a record."""
        if kind == "empty line":
            return ""
        if kind == REST:
            return "and by the back door if nobody answers"
        cells = self._cells(self._order(), dressed=False)
        return self._delimiter.join(self._ragged(cells) if kind == "fields" else self._unbalanced(cells))

    def _ragged(self, cells: list[str]) -> list[str]:
        drawn = self._draws.below(4)
        if drawn == 0:
            return [*cells, "more", "and more"]
        if drawn == 1:
            # A decimal comma that nobody put in quotes, or whatever the delimiter is.
            cells[UNIT_PRICE] = f"12{self._delimiter}50"
            return cells
        return cells[: 1 + self._draws.below(len(cells) - 1)]

    def _unbalanced(self, cells: list[str]) -> list[str]:
        drawn = self._draws.below(3)
        if drawn == 0:
            # All on one line: reading goes on at the next.
            cells[CUSTOMER], cells[NOTE] = '"Anna" Berg', ""
            return cells
        cells[NOTE] = '"Come in the morning'
        # What comes next must show at once that the quote is open.
        self._next.extendleft([CALM] if drawn == 1 else [CALM, REST])
        return cells
