"""Few digits, and yet no figure that is nearly perfect, or nearly nothing, is said to be so."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.common.rounding import number, percent, rounded


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9998, "0.9998"),
        (0.958, "0.958"),
        (1.0, "1.000"),
        (0.0, "0.000"),
        (0.9994, "0.999"),
        (0.99951, "0.9995"),
        (0.9999996, ">0.999999"),
        (0.0004, "0.0004"),
        (1e-9, "<0.000001"),
        (1.0001, "1.000"),  # a loss, for which 1 is nothing special
        (2.3026, "2.303"),
        (-0.0004, "-0.0004"),
        (-1e-9, ">-0.000001"),
    ],
)
def test_a_number_gets_three_decimals_or_as_many_as_tell_it_from_0_and_1(value: float, text: str) -> None:
    assert number(value, 3) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0.7181, "71.81%"),
        (1.0, "100.00%"),
        (0.0, "0.00%"),
        (0.99996, "99.996%"),
        (0.00001, "0.001%"),
        (1e-9, "<0.0001%"),
        (float(np.nextafter(np.float32(1), np.float32(0))), ">99.9999%"),
    ],
)
def test_a_share_is_100_percent_only_if_it_is(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(("share", "text"), [(0.99996, ">99.99%"), (0.00001, "<0.01%"), (0.5, "50.00%")])
def test_in_a_column_of_fixed_width_the_limit_is_named(share: float, text: str) -> None:
    assert percent(share, 2, 2) == text


def test_a_difference_has_a_sign_and_is_0_only_if_it_is() -> None:
    texts = [number(value, 4, sign="+") for value in (0.3, -0.3, 0.0, 0.00002, -0.00002, 1e-9, -1e-9)]
    assert texts == ["+0.3000", "-0.3000", "+0.0000", "+0.00002", "-0.00002", "<+0.000001", ">-0.000001"]


@given(st.floats(0, 1), st.integers(1, 6))
def test_no_share_but_0_and_1_is_written_as_0_or_1(value: float, decimals: int) -> None:
    text = number(value, decimals)
    assert (float(text.lstrip("<>")) in (0, 1) and text[0] not in "<>") == (value in (0, 1))
    if text[0] not in "<>":
        assert abs(float(text) - value) <= 0.5 * 10.0**-decimals * (1 + 1e-9)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1 / 3, 0.333333),
        (0.0001111111, 0.000111),
        (2.5e-7, 2.5e-7),  # a learning rate after some drops
        (1e-2 * 0.1**6, 1e-8),
        (0.0, 0.0),
        (1.0, 1.0),
        (1 - 2**-30, 1 - 2**-30),
        (2.30258509, 2.302585),
        (1.00000001, 1.0),
    ],
)
def test_a_float_of_a_file_has_six_decimals_or_three_digits_and_stays_below_1(value: float, expected: float) -> None:
    assert rounded(value) == expected
    assert rounded(-value) == -expected


@given(st.floats(0, 1))
def test_no_share_becomes_0_or_1_in_a_file(value: float) -> None:
    assert (rounded(value) in (0, 1)) == (value in (0, 1))
    assert rounded(value) == pytest.approx(value, abs=5.1e-7)
