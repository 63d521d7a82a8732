"""What a file of orders must hold: its columns, and what makes a value right."""

from collections.abc import Sequence

import polars as pl

from showcase.tabular import UnreadableFileError

__all__ = ["COLUMNS", "PRICE", "TOTAL", "check", "places"]

# Each column, and what it needs.
NEEDS = {
    "order_id": "a whole number from 1 to 9,000,000,000,000,000,000 is needed",
    "ordered_on": "a date from 2000-01-01 to 2099-12-31, as YYYY-MM-DD or DD.MM.YYYY, is needed",
    "customer": "1 to 200 characters are needed",
    "email": "an address with one @ and without spaces, or nothing, is needed",
    "country": "two letters are needed",
    "product": "1 to 200 characters are needed",
    "quantity": "a whole number from 1 to 10,000 is needed",
    "unit_price": "an amount from 0 to 1,000,000 with at most 2 decimals is needed",
    "note": "at most 10,000 characters are allowed",
}
COLUMNS = tuple(NEEDS)
PRICE = pl.Decimal(9, 2)
TOTAL = pl.Decimal(14, 2)
SHOWN = 60


def places(header: Sequence[str]) -> dict[str, int]:
    """Where each column is in a file with this header. Raises `UnreadableFileError` where it does not fit."""
    names = [name.lower() for name in header]
    missing = [name for name in COLUMNS if name not in names]
    unknown = [name for name in header if name.lower() not in COLUMNS]
    twice = [name for name in COLUMNS if names.count(name) > 1]
    wrong = [
        f"{words} {', '.join(found)[:300]}"
        for words, found in (("lacks", missing), ("has the unknown", unknown), ("has twice", twice))
        if found
    ]
    if wrong:
        raise UnreadableFileError(
            f"The header {' and '.join(wrong)}. It must name these columns, in any order: {', '.join(COLUMNS)}."
        )
    return {name: names.index(name) for name in COLUMNS}


def check(values: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Part rows of text, with `line` and `text`, into the accepted, typed, and the rejected, with `reason` and `kind`."""
    values = values.with_columns(pl.col(COLUMNS).str.strip_chars())
    # Null where a value is wrong.
    typed = values.select("line", **_typed(), text="text")
    kind = pl.coalesce(pl.when(pl.col(name).is_null()).then(pl.lit(name)) for name in COLUMNS)
    wrong = values.with_columns(typed.select(kind=kind)["kind"]).filter(pl.col("kind").is_not_null())
    value = pl.coalesce(pl.when(pl.col("kind") == name).then(pl.col(name)) for name in COLUMNS)
    shown = pl.when(value.str.len_chars() > SHOWN).then(value.str.slice(0, SHOWN) + "…").otherwise(value)
    need = pl.col("kind").replace_strict(NEEDS, return_dtype=pl.String)
    reason = pl.format("{} is '{}': {}", "kind", shown, need)
    return typed.drop_nulls(), wrong.select("line", reason.alias("reason"), "kind", "text")


def _typed() -> dict[str, pl.Expr]:
    return {
        "order_id": _whole("order_id", 9_000_000_000_000_000_000, pl.Int64),
        "ordered_on": _date("ordered_on"),
        "customer": _text("customer", 1, 200),
        "email": _like("email", r"^([^@\s]+@[^@\s]+)?$"),
        "country": _like("country", r"^[A-Za-z]{2}$").str.to_uppercase(),
        "product": _text("product", 1, 200),
        "quantity": _whole("quantity", 10_000, pl.Int32),
        "unit_price": _price("unit_price"),
        "note": _text("note", 0, 10_000),
    }


def _whole(name: str, most: int, kind: type[pl.DataType]) -> pl.Expr:
    number = pl.col(name).cast(pl.Int64, strict=False)
    return pl.when(number.is_between(1, most)).then(number).cast(kind)


def _date(name: str) -> pl.Expr:
    text = pl.col(name)
    # The parser alone would take signs and single digits too.
    date = pl.coalesce(
        pl.when(text.str.contains(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")).then(text.str.to_date("%Y-%m-%d", strict=False)),
        pl.when(text.str.contains(r"^[0-9]{2}\.[0-9]{2}\.[0-9]{4}$")).then(text.str.to_date("%d.%m.%Y", strict=False)),
    )
    return pl.when(date.is_between(pl.date(2000, 1, 1), pl.date(2099, 12, 31))).then(date)


def _text(name: str, least: int, most: int) -> pl.Expr:
    return pl.when(pl.col(name).str.len_chars().is_between(least, most)).then(pl.col(name))


def _like(name: str, pattern: str) -> pl.Expr:
    return pl.when(pl.col(name).str.contains(pattern)).then(pl.col(name))


def _price(name: str) -> pl.Expr:
    text = pl.col(name)
    amount = text.str.replace(",", ".", literal=True).cast(PRICE, strict=False)
    fits = text.str.contains(r"^[0-9]+([.,][0-9]{1,2})?$") & amount.is_between(0, 1_000_000)
    return pl.when(fits).then(amount)
