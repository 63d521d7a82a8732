"""`manage.py make_data`."""

import json
import re
import shlex
from io import StringIO
from pathlib import Path

import polars as pl
import pytest
from django.core.management import CommandError, call_command

from showcase import data
from showcase.data import expected_path


def run(*words: str) -> str:
    output = StringIO()
    call_command("make_data", *words, stdout=output)
    return output.getvalue()


def test_orders_come_with_their_findings(tmp_path: Path) -> None:
    path = tmp_path / "some.csv"
    said = run("--rows", "200", "--seed", "3", "--encoding", "cp1252", "--delimiter", ";", "--output", str(path))
    findings = json.loads((tmp_path / "some.csv.expected.json").read_text(encoding="utf-8"))
    assert findings["made"] == {"rows": 200, "seed": 3, "encoding": "cp1252", "delimiter": ";", "clean": False}
    assert f"200 rows, {findings['accepted']} accepted, {findings['rejected']} rejected" in said
    assert path.read_text(encoding="cp1252").startswith("order_id;ordered_on;")
    assert sorted(tmp_path.iterdir()) == [path, expected_path(path)]


def test_a_file_has_a_name_where_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("--rows", "10", "--clean")
    run("--rows", "10", "--kind", "measurements")
    run("--rows", "10", "--kind", "measurements", "--format", "parquet")
    names = {path.name for path in tmp_path.iterdir() if path.suffix != ".json"}
    assert names == {"orders.csv", "measurements.csv", "measurements.parquet"}
    assert pl.read_parquet("measurements.parquet").equals(
        pl.read_csv("measurements.csv", try_parse_dates=True), null_equal=True
    )


def test_the_commands_of_the_readme_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = Path(data.__file__).with_name("README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\$ manage.py make_data (.*)$", readme, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    for words in shown:
        run(*shlex.split(words.replace("1000000", "100")))
    assert len({path.name for path in tmp_path.iterdir() if path.suffix != ".json"}) == len(shown) == 3


def test_an_existing_file_is_written_over_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(CommandError, match=r"orders.csv exists: name another output, or force \(--force\)"):
        run("--rows", "5", "--output", str(path))
    assert path.read_text(encoding="utf-8") == "mine"
    run("--rows", "5", "--output", str(path), "--force")
    assert path.read_text(encoding="utf-8").startswith("order_id,")


def test_existing_findings_are_not_written_over_either(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    expected_path(path).write_text("mine", encoding="utf-8")
    with pytest.raises(CommandError, match=r"orders.csv.expected.json exists"):
        run("--rows", "5", "--output", str(path))


@pytest.mark.parametrize("kind", ["orders", "measurements"])
def test_an_unwritable_folder_is_named(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder, reason in ((tmp_path / "none", "No such file or directory"), (file, "Not a directory")):
        with pytest.raises(CommandError, match=f"{folder}/out.csv cannot be written: {reason}. Name an output"):
            run("--rows", "5", "--kind", kind, "--output", str(folder / "out.csv"))
    assert list(tmp_path.iterdir()) == [file]


def test_an_output_that_is_a_folder_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(CommandError, match="folder cannot be written: Is a directory"):
        run("--rows", "5", "--output", str(folder), "--force")
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rows", "0"], "rows is 0, but must be a whole number from 1 to 100,000,000"),
        (["--rows", "many"], "argument --rows: invalid int value: 'many'"),
        ([], "the following arguments are required: --rows"),
        (["--rows", "5", "--encoding", "ebcdic"], "invalid choice: 'ebcdic'"),
        (["--rows", "5", "--format", "parquet"], "--format is nothing that orders have"),
        (["--rows", "5", "--kind", "measurements", "--clean"], "--clean is nothing that measurements have"),
    ],
)
def test_wrong_arguments_are_said(words: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        run(*words)
