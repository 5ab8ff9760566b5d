from collections import Counter

import pytest

from palimpsest.data.categories import (
    Category,
    check_similar_names,
    is_similar,
    members_of,
    merge_categories,
    notes_for,
)
from palimpsest.errors import SettingsError

CAR, BUS, CARS = Category("1", "car", "cars"), Category("2", "bus", "cars"), Category("0", "cars", "none")
GROUPS = {"cars": "none", "car": "cars", "bus": "cars"}


def test_categories_keep_their_order_and_supercategory() -> None:
    assert merge_categories([CARS, CAR, BUS], {}) == (GROUPS, None)
    assert list(merge_categories([CARS, CAR, BUS, CAR], {})[0]) == ["cars", "car", "bus"]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_categories_of_one_name_the_annotated_one_is_used(order: int) -> None:
    twins = [CAR, Category("7", "car", "vehicle")][::order]
    assert merge_categories(twins, Counter({"7": 3})) == ({"car": "vehicle"}, None)
    assert merge_categories(twins, Counter({"1": 3})) == ({"car": "cars"}, None)
    groups, reason = merge_categories(twins, Counter({"1": 1, "7": 1}))
    assert groups == {} and reason is not None and "two categories are named 'car' (ids" in reason


def test_an_id_of_two_categories_is_a_fault() -> None:
    assert merge_categories([CAR, Category("1", "bus", "cars")], {})[1] is not None


def test_a_placeholder_and_an_ambiguous_name() -> None:
    assert members_of("cars", GROUPS, {"car": 3}) == (
        ["cars", "car", "bus"],
        "the category 'cars' has no annotations; its name means 'car', 'bus'",
    )
    assert members_of("cars", GROUPS, {"cars": 1, "car": 3})[0] == ["cars"]
    assert members_of("cars", GROUPS, None) == (["cars"], None)
    assert members_of("car", GROUPS, {}) == (["car"], None)
    assert members_of("person", {"person": "person"}, {}) == (["person"], None)
    assert notes_for({"a": ["cars"], "b": ["bus"]}, GROUPS, {"car": 1}) == [
        "classes.a: the category 'cars' has no annotations; its name means 'car', 'bus'"
    ]


@pytest.mark.parametrize("twin", ["Stop Sign", "stop_sign", "stop-sign", "stopsign"])
def test_an_annotated_category_of_almost_the_same_name_belongs_to_a_class_or_is_refused(twin: str) -> None:
    classes, class_of = {"sign": ["stop sign"]}, {"stop sign": 1}
    with pytest.raises(
        SettingsError, match=rf"classes\.sign: 'stop sign' is listed, but 5 annotations are of '{twin}'"
    ):
        check_similar_names(classes, class_of, [{"stop sign": 2, twin: 0}, {"stop sign": 0, twin: 5}])
    assert check_similar_names(classes, class_of, [{"stop sign": 2, twin: 0}]) == []
    assert check_similar_names(classes, class_of | {twin: 1}, [{"stop sign": 2}, {twin: 5}]) == []


def test_two_names_annotated_in_one_split_are_two_categories() -> None:
    (note,) = check_similar_names({"upper": ["A"]}, {"A": 1}, [{"A": 2, "a": 3}])
    assert note.startswith("classes.upper: 'A' is listed, but 3 annotations are of 'a', which is in no class;")


def test_a_category_named_almost_like_a_listed_supercategory_is_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"classes\.animal: 'animal' is listed, but 8 annotations are of 'Animal'"
    ):
        check_similar_names({"animal": ["animal"]}, {"cat": 1}, [{"cat": 8, "Animal": 8}])


def test_numbers_with_a_separator_are_different_names() -> None:
    assert check_similar_names({"x": ["11"]}, {"11": 1}, [{"11": 2}, {"1-1": 2}]) == []
    assert not is_similar("1-1", ["11"]) and not is_similar("class 1", ["class 2"])
    assert is_similar("things", ["a", "Thing"]) and not is_similar("widget", ["thing"])
