from collections import Counter

import pytest

from palimpsest.data.categories import Category, members_of, merged, notes_on
from palimpsest.data.prepare import class_mapping
from palimpsest.errors import SettingsError

CAR, BUS, CARS = Category("1", "car", "cars"), Category("2", "bus", "cars"), Category("0", "cars", "none")
GROUPS = {"cars": "none", "car": "cars", "bus": "cars"}


def test_categories_keep_their_order_and_supercategory() -> None:
    assert merged([CARS, CAR, BUS], {}) == (GROUPS, None)
    assert list(merged([CARS, CAR, BUS, CAR], {})[0]) == ["cars", "car", "bus"]


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_categories_of_one_name_the_annotated_one_is_taken(order: int) -> None:
    twins = [CAR, Category("7", "car", "vehicle")][::order]
    assert merged(twins, Counter({"7": 3})) == ({"car": "vehicle"}, None)
    assert merged(twins, Counter({"1": 3})) == ({"car": "cars"}, None)
    groups, reason = merged(twins, Counter({"1": 1, "7": 1}))
    assert groups == {} and reason is not None and "two categories are named 'car' (ids" in reason


def test_one_id_of_two_categories_is_a_fault() -> None:
    assert merged([CAR, Category("1", "bus", "cars")], {})[1] is not None


def test_a_placeholder_and_a_name_of_two_meanings() -> None:
    assert members_of("cars", GROUPS, {"car": 3}) == (
        ["cars", "car", "bus"],
        "the category 'cars' has no annotations; its name stands for 'car', 'bus'",
    )
    assert members_of("cars", GROUPS, {"cars": 1, "car": 3})[0] == ["cars"]
    assert members_of("cars", GROUPS, None) == (["cars"], None)
    assert members_of("car", GROUPS, {}) == (["car"], None)
    assert members_of("person", {"person": "person"}, {}) == (["person"], None)
    assert notes_on({"a": ["cars"], "b": ["bus"]}, GROUPS, {"car": 1}) == [
        "classes.a: the category 'cars' has no annotations; its name stands for 'car', 'bus'"
    ]


@pytest.mark.parametrize("twin", ["Stop Sign", "stop sign ", "stop_sign", "stop-sign", "stopsign"])
def test_an_annotated_category_of_almost_the_same_name_belongs_to_a_class_or_is_refused(twin: str) -> None:
    groups = {"stop sign": "sign", twin: "sign"}
    with pytest.raises(
        SettingsError, match=rf"classes\.sign: 'stop sign' is listed, but 5 annotations are of '{twin}'"
    ):
        class_mapping({"sign": ["stop sign"]}, groups, {"stop sign": 2, twin: 5})
    assert class_mapping({"sign": ["stop sign"]}, groups, {"stop sign": 2, twin: 0})[1] == {"stop sign": 1}
    assert len(class_mapping({"sign": ["stop sign", twin]}, groups, {"stop sign": 2, twin: 5})[1]) == 2
