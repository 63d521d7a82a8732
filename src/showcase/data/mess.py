"""What is wrong with the bad records of the made orders, and how often."""

from itertools import accumulate

__all__ = ["BAD", "BAD_SHARE", "COLUMNS", "CUMULATIVE", "DRESS", "KINDS", "LONG_FIELD", "SHARES", "TOO_LONG"]

COLUMNS = (
    "order_id", "ordered_on", "customer", "email", "country", "product", "quantity", "unit_price", "note",
)  # fmt: skip

# Of all records.
SHARES = {
    "order_id": 0.002,
    "ordered_on": 0.008,
    "customer": 0.002,
    "email": 0.006,
    "country": 0.003,
    "product": 0.002,
    "quantity": 0.006,
    "unit_price": 0.005,
    "note": 0.0001,
    "fields": 0.004,
    "empty line": 0.003,
    "quote": 0.001,
    "huge field": 0.00002,
    "duplicate": 0.005,
}
KINDS = tuple(SHARES)
CUMULATIVE = tuple(accumulate(SHARES.values()))
BAD_SHARE = CUMULATIVE[-1]

# Of the records that are good, each on its own: these are read as if they were tidy.
DRESS = {
    "german date": 0.3,
    "decimal comma": 0.2,
    "short decimals": 0.3,
    "lower-case country": 0.05,
    "missing email": 0.06,
    "blanks": 0.05,
}

LONG_FIELD = 70_000
TOO_LONG = 201
BAD = {
    "order_id": ("", "0", "-17", "12.5", "A-1007", "9000000000000000001", "99999999999999999999"),
    "ordered_on": (
        "", "2023-02-29", "2023-13-01", "2022-00-10", "31.04.2023", "29.02.2022", "00.01.2023", "12/24/2023", "1999-12-31",
        "2100-01-01", "yesterday",
    ),
    "customer": ("", "X" * TOO_LONG),
    "email": ("anna.example.com", "@example.com", "anna@", "anna@@example.com", "an na@example.com", "anna@exam ple.com"),
    "country": ("", "D", "DEU", "D1", "49", "ÖS"),
    "product": ("", "P" * TOO_LONG),
    "quantity": ("", "0", "-3", "10001", "2.5", "two", "1 000"),
    "unit_price": ("", "-1.00", "1000000.01", "12.345", "1.234,56", "free", "€12"),
    "note": ("Much to say. " * 800,),
}  # fmt: skip
