from typing import Any

import numpy as np
import pytest

from palimpsest.data import census
from palimpsest.data.census import Census, Labels, table
from palimpsest.data.outlines import NO_OUTLINE, SMALL, Fault
from palimpsest.errors import DataError

NAMES = ("background", "thing")


def counted(values: list[int], **found: Any) -> Census:
    """Return the census of one picture of these labels."""
    labels = np.array(values, np.uint8)
    result = Census("here: train", NAMES)
    result.add(labels, Labels(labels, **found))
    return result


def test_shares_are_those_of_all_pixels() -> None:
    one = counted([0, 0, 1, 255])
    assert one.shares() == {"background": 0.5, "thing": 0.25} and one.ignored() == 0.25
    assert one.info() == {"classes": one.shares(), "ignored": 0.25}


def test_a_class_without_a_pixel_is_refused_and_background_may_lack() -> None:
    counted([1, 255]).check_classes(lambda names: "")
    with pytest.raises(
        DataError, match=r"here: train: no pixel is of the class 'thing'; found .* 50.00%; what of thing"
    ):
        counted([0, 255]).check_classes(lambda names: f"what of {names[0]}")


def test_harmless_faults_do_not_count_and_are_listed_last() -> None:
    faults = (Fault("a.jpg", "annotation 1", SMALL), Fault("b.jpg", "annotation 2", NO_OUTLINE))
    one = counted([1], read=4, faults=faults)
    one.check_annotations(0.25)
    with pytest.raises(
        DataError, match=r"here: train: 1 of 4 annotations cannot be painted, and 20\.0% may be; .*b\.jpg"
    ):
        one.check_annotations(0.2)
    assert [entry["source"] for entry in one.listed("train")] == ["b.jpg", "a.jpg"]
    assert one.info()["annotations"] == {"read": 4, "faulty": 1, "small": 1, "crowd": 0}


def test_a_large_split_is_given_up_early(monkeypatch: pytest.MonkeyPatch) -> None:
    one = counted([1], read=3, faults=(Fault("b.jpg", "annotation 2", NO_OUTLINE),) * 3)
    one.check_annotations(0.01, available=200)  # as long as few are known
    monkeypatch.setattr(census, "TELLING", 3)
    one.check_annotations(0.01, available=300)
    with pytest.raises(DataError, match="at least 3 of 200 annotations"):
        one.check_annotations(0.01, available=200)


def test_the_table_keeps_the_order_of_the_classes() -> None:
    info = {"classes": ["background", "b", "a"], "labels": {"val": counted([0]).info()}}
    info["labels"]["val"]["classes"] = {"a": 0.25, "b": 0.5, "background": 0.25}  # type: ignore[index]
    assert table(info) == ["val: background 25.00%, b 50.00%, a 25.00%, ignored (255) 0.00%"]
    assert table({"classes": None}) == []
