"""Reading a CSV of recipients."""

import pytest

from showcase.emails import recipients


def read(text: str) -> tuple[list[tuple[int, str, str]], list[tuple[int, str]]]:
    persons, rejections = recipients.read(text.encode())
    return (
        [(person.line, person.email, person.name) for person in persons],
        [(rejection.line, rejection.reason) for rejection in rejections],
    )


def test_rows_that_can_be_sent_and_rows_that_cannot() -> None:
    sent, rejected = read(
        "email,name\nann@example.com,Ann\n\nnobody,Bob\n,Cid\nANN@example.com,Again\n dee@example.com , Dee \n"
    )
    assert sent == [(2, "ann@example.com", "Ann"), (7, "dee@example.com", "Dee")]
    assert rejected == [
        (4, "'nobody' is no email address."),
        (5, "It has no address."),
        (6, "The same address as in line 2."),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name;email\n", []),
        ("\ufeffEmail,Name\nann@example.com,Ann\n", [(2, "ann@example.com", "Ann")]),
        ("name,other,EMAIL\r\nAnn,x,ann@example.com\r\n", [(2, "ann@example.com", "Ann")]),
        ("email\nann@example.com\n", [(2, "ann@example.com", "")]),
        ("email,name\nann@example.com\n", [(2, "ann@example.com", "")]),
        ('email,name\n"ann@example.com","A, B"\n', [(2, "ann@example.com", "A, B")]),
        ("\n\nemail,name\nann@example.com,Ann", [(4, "ann@example.com", "Ann")]),
    ],
)
def test_forms_a_csv_takes(text: str, expected: list[tuple[int, str, str]]) -> None:
    if expected:
        assert read(text) == (expected, [])
    else:
        with pytest.raises(recipients.UnreadableFileError, match="Separate the columns with commas"):
            read(text)


def test_a_row_over_several_lines_counts_them() -> None:
    sent, rejected = read('email,name\nann@example.com,"A\nnn"\nbob@example.com,Bob\n')
    assert sent == [(4, "bob@example.com", "Bob")]
    assert rejected == [(2, "The name holds a line break or another character that cannot be shown.")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has: nothing"),
        (b"address,name\nann@example.com,Ann\n", "it has: address, name"),
        (b"email,name\n", "a header but no rows"),
        (b"email,name\nann@example.com,Ann\n\xff\n", "Line 3 is not UTF-8"),
        (b"email,name\nann@example.com,\0\n", "NUL"),
        (b'email,name\nann@example.com,"Ann\n', "Line 2 is not CSV"),
        (b"email\n" + b"ann@example.com\n" * (recipients.MOST_ROWS + 1), "more than 10,000 rows"),
        (b"email\n" + b"x" * recipients.MOST_BYTES, "the most is 2,097,152"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(content: bytes, words: str) -> None:
    with pytest.raises(recipients.UnreadableFileError, match=words):
        recipients.read(content)


def test_the_most_rows_are_read() -> None:
    text = "email\n" + "".join(f"person{number}@example.com\n" for number in range(recipients.MOST_ROWS))
    sent, rejected = read(text)
    assert len(sent) == recipients.MOST_ROWS
    assert rejected == []


@pytest.mark.parametrize(
    ("row", "words"),
    [(f"{'a' * 60}@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 60}.com,x", "address"), (f"a@b.example,{'x' * 201}", "200")],
)
def test_what_is_too_long_is_rejected(row: str, words: str) -> None:
    _, rejected = read(f"email,name\n{row}\n")
    assert words in rejected[0][1]
