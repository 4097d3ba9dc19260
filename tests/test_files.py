"""Files appear whole or not at all, and their bytes depend on their content alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from stages.common.files import atomic_file, atomic_folder, write_csv, write_figure, write_json, write_json_rows


def test_a_file_whose_writing_fails_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), atomic_file(tmp_path / "a.txt") as part:
        part.write_text("half")
        raise RuntimeError
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_folder_whose_writing_fails_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "a") as part:
        (part / "file").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".a.part").mkdir()
    (tmp_path / ".a.part" / "left").write_text("half")
    with atomic_folder(tmp_path / "a") as part:
        (part / "file").write_text("whole")
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["a", "a/file"]


def test_a_folder_replaces_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("old")
    with atomic_folder(tmp_path / "a") as part:
        (part / "new").write_text("new")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["new"]


def test_json_keeps_the_order_of_keys_and_six_decimals(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1 / 3, "a": [1, 2.5], "c": {"d": None}})
    expected = '{\n  "b": 0.333333,\n  "a": [\n    1,\n    2.5\n  ],\n  "c": {\n    "d": null\n  }\n}\n'
    assert (tmp_path / "a.json").read_text() == expected


def test_json_refuses_what_it_has_no_word_for(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "a.json", {"a": math.nan})
    assert list(tmp_path.iterdir()) == []


def test_rows_stand_on_a_line_each(tmp_path: Path) -> None:
    write_json_rows(tmp_path / "a.json", [{"x": 0.5, "name": "é"}, {"x": 1, "name": "<b>"}])
    assert (tmp_path / "a.json").read_text() == '[\n{"x": 0.5, "name": "é"},\n{"x": 1, "name": "<b>"}\n]\n'


def test_a_table_quotes_what_needs_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["name", "value"], [["a,b", 1 / 3], ["c", 2]])
    assert (tmp_path / "a.csv").read_text() == 'name,value\n"a,b",0.333333\nc,2\n'


def test_equal_figures_give_equal_bytes_without_a_version(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([1, 2])
        write_figure(tmp_path / name, figure)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"matplotlib" not in (tmp_path / "a.png").read_bytes()
