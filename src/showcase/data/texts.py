"""The people, products and notes of the made orders.

All but the wide notes can be written in cp1252. A text that needs quotes starts with a letter, so that the opening quote
of the next one always shows that a quote before it was never closed.
"""

import re
import unicodedata
from datetime import date, timedelta
from typing import NamedTuple

__all__ = [
    "COUNTRIES",
    "DAYS",
    "NO_NOTE",
    "Customer",
    "Day",
    "Product",
    "Text",
    "customers",
    "notes",
    "products",
    "quoted",
    "quoting",
]


class Text(NamedTuple):
    """A value, and how it is written in the file."""

    value: str
    written: str


class Customer(NamedTuple):
    """Who orders; an address may be missing in an order all the same."""

    name: Text
    email: str


class Product(NamedTuple):
    """What is ordered, at about so many cents."""

    name: Text
    cents: int


class Day(NamedTuple):
    """A date in both forms, and its month."""

    iso: str
    german: str
    month: str


NO_NOTE = Text("", "")
COUNTRIES = ("DE", "DE", "DE", "AT", "CH", "FR", "FR", "NL", "PL", "IT", "ES", "SE", "US", "JP")
FIRST_DAY = date(2022, 1, 1)
DAYS = tuple(
    Day(day.isoformat(), f"{day:%d.%m.%Y}", f"{day:%Y-%m}")
    for day in (FIRST_DAY + timedelta(days=number) for number in range(3 * 365 + 1))
)

FIRST_NAMES = (
    "Anna", "Ben", "Chloé", "David", "Emma", "Felix", "Greta", "Hugo", "Inés", "Jürgen", "Käthe", "Lukas", "Mia", "Noah",
    "Øyvind", "Paula", "Quentin", "René", "Søren", "Théo", "Ute", "Vera", "Walter", "Xaver", "Yvonne", "Zoë", "Ana María",
    "Björn", "Françoise", "Günther", "Jean-Luc", "Štefan",
)  # fmt: skip
LAST_NAMES = (
    "Müller", "Schmidt", "Schneider", "Fischer", "Weber", "Meyer", "Wagner", "Schäfer", "Großmann", "Bauer", "O'Brien",
    "Núñez", "García", "Lefèvre", "Dubois", "van der Berg", "Åkesson", "Nilsson", "Jansen", "Rossi", "Bianchi", "Kowalski",
    "Novak", "Žižek", "Taylor", "Smith-Jones", "Ødegård", "Köhler", "Weiß", "Krüger", "Sjöberg", "D'Angelo",
)  # fmt: skip
COMPANIES = (
    'Bäckerei "Goldene Krume"', "Müller, Schulze & Partner", 'Gasthof "Zum Löwen", Innsbruck', "Café Crème; Bistro",
    "O'Neil & Sons, Ltd", 'Hotel "Am See"', "Smith; Wesson; Co", "Blumen, Garten & mehr",
)  # fmt: skip
PRODUCTS = (
    ("Notebook, ruled", 349), ("Fountain pen", 2490), ('Monitor 27"', 18900), ("Desk lamp", 3995), ("USB-C cable, 2 m", 899),
    ("Coffee beans 1 kg", 1650), ("Grüner Tee", 720), ("Crème brûlée set", 2199), ("Office chair", 22900), ("Whiteboard", 5490),
    ("Sticky notes", 199), ("Stapler", 1275), ("Paper A4; 500 sheets", 489), ("Keyboard", 6900), ("Mouse, wireless", 2590),
    ("Headphones", 8990), ("Webcam", 5900), ("Backpack", 4999), ("Water bottle", 1890), ('Tablet 11"', 34900),
    ("Hörbuch", 1299), ("Wall clock", 2750), ("Plant pot", 950), ("Calendar", 1490), ("Envelope", 12), ("Sample, free", 0),
    ("Printer", 15900), ("Toner, black", 7450), ("Desk mat", 1990), ("Power strip", 1795),
)  # fmt: skip
NOTES = (
    "Leave it with the neighbours", "Call before delivery, please", 'He said "after five"', "Second floor; ring twice",
    "Bitte vor der Tür abstellen", "Gift", "Line one\nLine two", 'Address:\nHauptstraße 5,\n"Hinterhaus"', "No substitutes",
    "Straße gesperrt, Zufahrt über Süden", "Fragile",
)  # fmt: skip
WIDE_NOTES = ("Wróć jutro, proszę", "ご注意ください", "Fragile 📦", "Ταχύ, παρακαλώ", "Осторожно")
# Those that Unicode does not take apart.
LETTERS = str.maketrans({"ß": "ss", "ø": "o", "Ø": "O"})


def quoting(delimiter: str) -> frozenset[str]:
    """The characters that put a text in quotes."""
    return frozenset((delimiter, '"', "\n"))


def quoted(value: str, special: frozenset[str]) -> str:
    """Write a value as CSV."""
    if special.isdisjoint(value):
        return value
    return '"' + value.replace('"', '""') + '"'


def _text(value: str, delimiter: str) -> Text:
    return Text(value, quoted(value, quoting(delimiter)))


def customers(delimiter: str) -> tuple[Customer, ...]:
    """More than a thousand people and a few companies."""
    people = (
        Customer(_text(f"{first} {last}", delimiter), f"{_plain(first)}.{_plain(last)}@example.com")
        for first in FIRST_NAMES
        for last in LAST_NAMES
    )
    companies = (
        Customer(_text(name, delimiter), f"orders@company-{number}.example") for number, name in enumerate(COMPANIES, 1)
    )
    return (*people, *companies)


def products(delimiter: str) -> tuple[Product, ...]:
    """What can be ordered."""
    return tuple(Product(_text(name, delimiter), cents) for name, cents in PRODUCTS)


def notes(delimiter: str, *, wide: bool, breaks: bool) -> tuple[Text, ...]:
    """What people write beside an order; `wide` with scripts that cp1252 has not, `breaks` with those over several lines."""
    chosen = [note for note in NOTES if breaks or "\n" not in note]
    return tuple(_text(note, delimiter) for note in (*chosen, *(WIDE_NOTES if wide else ())))


def _plain(name: str) -> str:
    """A name in the letters of an address."""
    letters = unicodedata.normalize("NFKD", name.translate(LETTERS)).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z]+", "-", letters)
