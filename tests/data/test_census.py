from typing import Any

import numpy as np
import pytest

from palimpsest.data import census
from palimpsest.data.census import Census, Labels, census_lines
from palimpsest.data.outlines import NO_OUTLINE, SMALL, Fault
from palimpsest.data.turned import Turned
from palimpsest.errors import DataError

NAMES = ("background", "thing")


def counted(values: list[int], **fields: Any) -> Census:
    """Return the census of one picture of these labels."""
    labels = np.array(values, np.uint8)
    result = Census("here: train", NAMES)
    result.add(labels, Labels(labels, **fields))
    return result


def test_fractions_are_those_of_all_pixels() -> None:
    picture_census = counted([0, 0, 1, 255])
    assert picture_census.shares() == {"background": 0.5, "thing": 0.25} and picture_census.ignored() == 0.25
    assert picture_census.info() == {"classes": picture_census.shares(), "ignored": 0.25}


def test_a_class_without_a_pixel_is_refused_except_background() -> None:
    counted([1, 255]).check_classes(lambda names: "")
    with pytest.raises(
        DataError, match=r"here: train: no pixel is of the class 'thing'; found .* 50.00%; what of thing"
    ):
        counted([0, 255]).check_classes(lambda names: f"what of {names[0]}")


def test_harmless_faults_do_not_count_and_are_listed_last() -> None:
    faults = (Fault("a.jpg", "annotation 1", SMALL), Fault("b.jpg", "annotation 2", NO_OUTLINE))
    picture_census = counted([1], read=4, faults=faults)
    picture_census.check_annotations(0.25)
    with pytest.raises(
        DataError, match=r"here: train: 1 of 4 annotations cannot be painted, and the limit is 20\.0%; .*b\.jpg"
    ):
        picture_census.check_annotations(0.2)
    assert [entry["source"] for entry in picture_census.listed("train")] == ["b.jpg", "a.jpg"]
    assert picture_census.info()["annotations"] == {"read": 4, "faulty": 1, "small": 1, "clipped": 0, "crowd": 0}


def test_only_the_first_faults_are_listed_and_all_are_counted() -> None:
    small, faulty = Fault("a.jpg", "annotation 1", SMALL), Fault("b.jpg", "annotation 2", NO_OUTLINE)
    picture_census = counted([1], read=9000, faults=(*[small] * 8000, *[faulty] * 5))
    assert len(picture_census.faults) == census.MAX_LISTED and picture_census.faults[:6] == [*[faulty] * 5, small]
    assert len(picture_census.lines()) == census.MAX_LISTED + 1
    assert picture_census.lines()[-1] == "7985 more annotations are faulty, small or clipped"
    assert (
        picture_census.info()["annotations"]["small"] == 8000
        and len(picture_census.listed("train")) == census.MAX_LISTED
    )


def test_a_class_outside_the_centred_square_is_named() -> None:
    picture_census = Census("here: train", NAMES)
    picture_census.add(np.zeros((2, 2), np.uint8), Labels(np.array([[1, 0, 0, 0], [0, 0, 0, 0]], np.uint8)))
    with pytest.raises(
        DataError, match=r"pictures whose centred square lacks the annotated objects, .*: 'thing' in 1; crop them"
    ):
        picture_census.check_classes(lambda names: "files")


def test_rotated_pictures_are_counted_with_their_frame() -> None:
    picture_census = counted([1], turned=Turned(as_shown=True, deciding=3))
    assert picture_census.info()["turned"] == {"shown": 1, "stored": 0, "deciding": 3}
    lines = census_lines({"classes": NAMES, "labels": {"train": picture_census.info()}})
    assert lines[-1] == (
        "train: pictures turned by EXIF: annotations of 1 read as shown, of 0 as stored; 3 pictures decide"
    )


def test_a_large_split_is_refused_early(monkeypatch: pytest.MonkeyPatch) -> None:
    picture_census = counted([1], read=3, faults=(Fault("b.jpg", "annotation 2", NO_OUTLINE),) * 3)
    picture_census.check_annotations(0.01, available=200)  # too few are known
    monkeypatch.setattr(census, "MIN_FAULTY", 3)
    picture_census.check_annotations(0.01, available=300)
    with pytest.raises(DataError, match="at least 3 of 200 annotations"):
        picture_census.check_annotations(0.01, available=200)


def test_the_table_keeps_the_order_of_the_classes() -> None:
    info = {"classes": ["background", "b", "a"], "labels": {"val": counted([0]).info()}}
    info["labels"]["val"]["classes"] = {"a": 0.25, "b": 0.5, "background": 0.25}  # type: ignore[index]
    assert census_lines(info) == ["val: background 25.00%, b 50.00%, a 25.00%, ignored (255) 0.00%"]
    assert census_lines({"classes": None}) == []
