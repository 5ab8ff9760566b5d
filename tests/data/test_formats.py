"""Formats and kinds of task that fit together."""

import os
import subprocess
import sys
from typing import Any

import pytest

from palimpsest.data.formats import FORMATS, settings_of_format
from palimpsest.data.targets import TARGETS
from palimpsest.errors import SettingsError
from palimpsest.params import resolve
from palimpsest.tasks import KINDS

Content = dict[str, Any]

OPTIONS: dict[str, dict[str, Any]] = {
    "segmentation": {"classes": {"a": ["a"]}},
    "depth": {"range": [1, 9]},
    "style": {"picture": "styles/the-scream.jpg"},
}
"""Required settings of each kind of task."""

OF_FORMAT: dict[str, dict[str, Any]] = {"table": {"table": {"train": "a.csv", "val": "b.csv"}}}
MINE = {"format": "paired", "source": "directory", "root": "x"}


@pytest.mark.parametrize(
    ("kind", "format", "formats"),
    [
        ("segmentation", "paired", "coco or voc or table"),
        ("paired", "coco", "paired or table"),
        ("depth", "voc", "paired or table"),
        ("paired", "voc", "paired"),
    ],
)
def test_a_format_without_targets_of_the_kind_is_refused_with_formats_that_have_them(
    content: Content, kind: str, format: str, formats: str
) -> None:
    datasets = {"mine": {**MINE, "format": format}}
    tasks = {"mine": {"kind": kind, "data": "mine", **OPTIONS.get(kind, {})}}
    with pytest.raises(
        SettingsError, match=rf"^tasks\.mine\.data: a task of kind {kind} cannot learn from {format}.*{formats}"
    ):
        resolve(content, {"datasets": datasets, "tasks": tasks, "sequence": ["shapes", "mine"]})


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("kind", [name for name, row in KINDS.items() if row.target is None])
def test_a_kind_without_a_target_accepts_every_format(content: Content, kind: str, format: str) -> None:
    datasets = {"mine": {**MINE, "format": format, **OF_FORMAT.get(format, {})}}
    tasks = {"mine": {"kind": kind, "data": "mine", **OPTIONS.get(kind, {})}}
    assert resolve(content, {"datasets": datasets, "tasks": tasks, "sequence": ["shapes", "mine"]}).sequence[1]


def test_a_setting_of_another_format_is_refused_by_name(content: Content) -> None:
    with pytest.raises(
        SettingsError, match=r"^datasets\.mine: archives is a setting of format coco and voc; leave"
    ):
        resolve(content, {"datasets": {"mine": {**MINE, "archives": ["a.zip"]}}})


def test_a_format_that_does_not_exist_is_refused_with_the_nearest(content: Content) -> None:
    with pytest.raises(
        SettingsError, match=r"^datasets\.mine\.format: unknown format 'cocoo'; did you mean 'coco'"
    ):
        resolve(content, {"datasets": {"mine": {**MINE, "format": "cocoo"}}})


def test_settings_of_each_format_name_it() -> None:
    for name in FORMATS:
        assert name in str(settings_of_format(name).model_fields["format"].annotation)


def test_digests_of_two_forms_differ() -> None:
    assert len({(form.dtype, form.channels) for form in TARGETS.values()}) == len(TARGETS)


def test_every_process_writes_equal_rows() -> None:
    """Test a text that is a parameter of rules; a job runs again when it changes."""
    command = (
        "from palimpsest.data.formats import FORMATS; from palimpsest.tasks import KINDS; print(FORMATS, KINDS)"
    )
    written = {
        subprocess.run(
            [sys.executable, "-c", command],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(written) == 1
