import math

import pytest
from scipy.stats import ttest_ind

from palimpsest.analysis.significance import best, comparisons, p_value, total_deviation


def test_the_p_value_is_that_of_welchs_test_by_hand():
    first, second = (1.0, 2.0, 3.0), (2.0, 4.0, 6.0)
    assert p_value(first, second) == pytest.approx(ttest_ind(first, second, equal_var=False).pvalue)
    # t = −2 ÷ √(1/3 + 4/3), degrees of freedom (5/3)² ÷ ((1/3)² / 2 + (4/3)² / 2) = 2.94
    assert p_value(first, second) == pytest.approx(0.221, abs=0.001)


def test_one_seed_has_no_p_value_and_samples_without_variance_have_a_certain_one():
    assert math.isnan(p_value([1.0], [2.0, 3.0]))
    assert p_value([94.0, 94.0], [94.0, 94.0]) == 1.0
    assert p_value([94.0, 94.0], [93.0, 93.0]) == 0.0


def test_the_best_are_those_that_no_other_method_beats_significantly():
    values = {"a": [1.0, 1.1, 0.9], "b": [1.05, 1.2, 1.0], "c": [2.0, 2.1, 1.9]}
    assert best(values) == {"a", "b"}
    assert best({"a": [1.0, 1.1, 0.9], "c": [2.0, 2.1, 1.9]}) == {"a"}
    noisy = {"a": [1.0, 1.1, 0.9], "c": [2.0, 9.0, 0.5]}
    assert best(noisy) == {"a", "c"}
    noisy_first = {"a": [1.0, 2.0, 0.0], "b": [1.1, 1.11, 1.09], "c": [1.5, 1.51, 1.49]}
    assert best(noisy_first) == {"a", "b"}  # c is not significantly worse than a, but than b


def test_a_single_run_and_equal_values_have_no_best():
    assert best({"a": [1.0], "b": [2.0]}) == set()
    assert best({"a": [1.0, 1.0], "b": [1.0]}) == set()
    assert best({"a": [1.0, 2.0], "b": [1.0, 2.0]}) == set()
    assert best({}) == set()


def test_each_pair_is_compared_once():
    pairs = comparisons({"a": [1.0, 2.0], "b": [4.0, 5.0], "c": [1.0, 2.0]})
    assert [(pair.method, pair.other, pair.difference) for pair in pairs] == [
        ("a", "b", -3.0),
        ("a", "c", 0.0),
        ("b", "c", 3.0),
    ]


def test_variances_of_known_deviations_add():
    assert total_deviation(3.0, 4.0) == 5.0
    assert total_deviation(None, 4.0) == total_deviation(math.nan, 4.0) == 4.0
    assert total_deviation(None, math.nan) is None
