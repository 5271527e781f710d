"""The numbers that tolerances are made of."""

import math

import pytest
import torch

from theory.numerics import (
    ORDER_BITS,
    eta,
    gamma,
    largest_integer,
    least_magnitude,
    order_gains,
    safe_from_underflow,
    unit_roundoff,
)

BOTH = pytest.mark.parametrize(("dtype", "digits", "lowest"), [(torch.float64, 53, -1022), (torch.float32, 24, -126)])


@BOTH
def test_u_is_half_the_distance_from_one_to_the_next_number(dtype, digits, lowest):
    one = torch.ones((), dtype=dtype)
    u = unit_roundoff(dtype)
    assert u == 2.0**-digits
    assert one + 2 * u > one and one + u == one


@BOTH
def test_eta_is_the_smallest_positive_number(dtype, digits, lowest):
    assert eta(dtype) == 2.0 ** (lowest - digits + 1)
    assert torch.nextafter(torch.zeros((), dtype=dtype), torch.ones((), dtype=dtype)) == eta(dtype)


@BOTH
def test_below_the_largest_integer_every_integer_is_a_number_and_above_not(dtype, digits, lowest):
    largest = torch.tensor(largest_integer(dtype), dtype=dtype)
    assert float(largest) == 2.0**digits
    assert (largest - 1) + 1 == largest and (largest - 2) + 1 == largest - 1
    assert largest + 1 == largest


@BOTH
def test_gamma_bounds_k_roundings(dtype, digits, lowest):
    u = 2.0**-digits
    for k in (1, 2, 7, 1000):
        assert gamma(k, dtype) == k * u / (1 - k * u)
        assert (1 + u) ** k - 1 < gamma(k, dtype) < 1.01 * k * u or k == 1
    many = gamma(torch.tensor([1, 7, 1000]), dtype)
    assert many.dtype == dtype
    torch.testing.assert_close(many, torch.tensor([gamma(k, dtype) for k in (1, 7, 1000)], dtype=dtype))
    with pytest.raises(ValueError, match=f"{2**digits} roundings in"):
        gamma(2**digits, dtype)
    with pytest.raises(ValueError, match="have no bound"):
        gamma(torch.tensor([1, 2**digits]), dtype)
    assert math.isfinite(gamma(2**digits - 1, dtype))


def test_the_least_magnitude_passes_over_zeros_signs_and_what_is_no_real_number():
    assert least_magnitude([torch.tensor([3.0, -2.0, 0.0]), torch.tensor([-5.0])]) == 2
    assert least_magnitude([torch.tensor([3.0, -2.0]), torch.tensor([0.5])]) == 0.5
    assert least_magnitude([torch.tensor([0.0, 4.0]), torch.tensor([1, 2]), torch.zeros(0)]) == 4
    assert least_magnitude([torch.zeros(3), torch.zeros(0)]) == math.inf
    assert least_magnitude([torch.tensor([1, 2])]) == math.inf and least_magnitude([]) == math.inf


def test_what_is_safe_from_underflow_lies_above_half_the_exponents():
    edge = 2.0**-511
    values = torch.tensor([0.0, edge / 2, edge, -edge, 2 * edge, -2 * edge, 1.0, -1.0], dtype=torch.float64)
    assert safe_from_underflow(values).tolist() == [False, False, False, False, True, True, True, True]
    small = torch.tensor([2.0**-63, 2.0**-62, -1.0])
    assert safe_from_underflow(small).tolist() == [False, True, True]


def test_the_gain_is_counted_in_bits_from_the_floors_of_both_precisions():
    high, low = torch.tensor([2.0**-40, 0.0, 2.0**-40, 0.0]), torch.tensor([2.0**-10, 2.0**-12, 0.0, 0.0])
    assert order_gains(high, low).tolist() == [30, 53 - 12, 40 - 24, 53 - 24]
    assert 2 * ORDER_BITS == 53 - 24
    assert order_gains(torch.tensor([1e-9]), torch.tensor([1e-9])) < ORDER_BITS
