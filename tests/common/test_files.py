"""Files appear whole or not at all, and their bytes depend on their content alone."""

from __future__ import annotations

import errno
import math
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray

from stages.common.files import (
    all_or_none,
    atomic_file,
    atomic_folder,
    write_array,
    write_csv,
    write_figure,
    write_json,
    write_json_rows,
    write_text,
)

ARRAY = np.arange(2000, dtype=np.int32).reshape(40, 50)


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


def contents(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """A file and a folder that an earlier run wrote."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old.txt").write_text("old")
    (tmp_path / "a.txt").write_text("old")
    return tmp_path


def write_outputs(folder: Path, place: Callable[[str | Path], Path]) -> None:
    write_text(place(folder / "a.txt"), "new")
    write_text(place(folder / "folder") / "new.txt", "new")
    write_text(place(folder / "deeper/b.txt"), "new")


def test_outputs_appear_together_and_a_folder_holds_the_new_alone(outputs: Path) -> None:
    before = contents(outputs)
    with all_or_none() as place:
        write_outputs(outputs, place)
        old = {name: text for name, text in contents(outputs).items() if ".part/" not in name}
        assert old == before
    assert contents(outputs) == {"a.txt": "new", "folder/new.txt": "new", "deeper/b.txt": "new"}
    assert not list(outputs.rglob(".*"))


def test_where_one_output_fails_all_stay_as_they_were(outputs: Path) -> None:
    before = contents(outputs)
    with pytest.raises(ValueError, match="JSON compliant"), all_or_none() as place:
        write_outputs(outputs, place)
        write_json(place(outputs / "c.json"), math.nan)
    assert contents(outputs) == before
    assert not list(outputs.rglob(".*"))


def test_a_link_in_place_of_an_output_is_replaced_and_what_it_leads_to_stays(outputs: Path) -> None:
    (outputs / "folder").rename(outputs / "elsewhere")
    (outputs / "folder").symlink_to("elsewhere")
    (outputs / "a.txt").rename(outputs / "b.txt")
    (outputs / "a.txt").symlink_to("b.txt")
    with all_or_none() as place:
        write_outputs(outputs, place)
    assert not (outputs / "folder").is_symlink()
    assert not (outputs / "a.txt").is_symlink()
    assert (outputs / "elsewhere/old.txt").read_text() == (outputs / "b.txt").read_text() == "old"


@pytest.mark.parametrize("write", [lambda path: write_text(path, "x" * 9999), lambda path: write_array(path, ARRAY)])
def test_a_write_for_which_there_is_no_room_is_an_error_that_names_the_file(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write(tmp_path / "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / "a"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("array", [ARRAY, ARRAY.T[::2], np.zeros((0, 3)), np.array([True])])
def test_an_array_is_written_in_the_bytes_of_numpy(tmp_path: Path, array: NDArray[Any]) -> None:
    write_array(tmp_path / "a.npy", array)
    np.save(tmp_path / "b.npy", np.ascontiguousarray(array))
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


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
