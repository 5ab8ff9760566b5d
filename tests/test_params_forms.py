"""Values of a wrong type, paths, and settings of pairs."""

import os
import pwd
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from palimpsest.errors import SettingsError
from palimpsest.params import models_in, resolve
from palimpsest.settings import Settings
from palimpsest.tasks.style_settings import StyleSettings
from tests.conftest import nested

Content = dict[str, Any]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("seeds", 3, "seeds: has to be a list, found 3; write [3] in params.yaml, or --config 'seeds=[3]'"),
        (
            "seeds",
            "0,1,2",
            "seeds: has to be a list, found '0,1,2'; write [0, 1, 2] in params.yaml, or --config 'seeds=[0,1,2]'",
        ),
        (
            "methods",
            "scratch piggyback",
            "methods: has to be a list, found 'scratch piggyback'; write [scratch, piggyback] in params.yaml, or "
            "--config 'methods=[scratch,piggyback]'",
        ),
        ("sequence", None, "sequence: has to be a list, found nothing; write […] in params.yaml, or --config 's"),
        (
            "datasets/coco/archives",
            "a.zip",
            "datasets.coco.archives: has to be a list, found 'a.zip'; write [a.zip]",
        ),
        (
            "tasks/voc-seg/classes/cat",
            "cat",
            "tasks.voc-seg.classes.cat: has to be a list, found 'cat'; write [cat]",
        ),
        (
            "datasets/mine",
            {"format": "paired", "source": "directory", "root": "x", "target_range": 5},
            "datasets.mine.target_range: has to be a list, found 5; write [5]",
        ),
        ("training", 3, "training: has to be a group of settings, found 3; write {accelerator: …, batch_size: …, "),
        (
            "method_settings/piggyback",
            3,
            "method_settings.piggyback: has to be a group of settings, found 3; write {averaged: …",
        ),
        ("tasks", "voc-seg", "tasks: has to be a group of settings, found 'voc-seg'; write {name: …}"),
        (
            "tasks/voc-seg/classes",
            ["cat"],
            "tasks.voc-seg.classes: has to be a group of settings, found ['cat']; w",
        ),
        (
            "tasks/voc-seg/classes/cat",
            [False],
            "tasks.voc-seg.classes.cat.0: has to be text, found False; put it in",
        ),
        (
            "tasks/voc-seg/splits/val",
            2017,
            "tasks.voc-seg.splits.val: has to be text, found 2017; put it into quote",
        ),
        ("data_root", ["a"], "data_root: has to be a path, found ['a']; write one name"),
        ("data_root", True, "data_root: has to be a path, found True; write it as ./NAME"),
        (
            "tasks/style-gogh/picture",
            1.5,
            "tasks.style-gogh.picture: has to be a path, found 1.5; write it",
        ),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_with_type_and_notation(
    params_yaml: Content, path: str, value: object, message: str
) -> None:
    with pytest.raises(SettingsError) as error:
        resolve(params_yaml, {"preset": "real", **nested(path, value)})
    assert str(error.value).startswith(message), str(error.value)


def test_a_folder_name_of_digits_is_a_path(params_yaml: Content) -> None:
    settings = resolve(params_yaml, {"preset": "real", "data_root": 2017})
    assert settings.data_root == Path("2017") and settings.datasets["voc"].root == Path("2017/voc")
    mine = {"format": "paired", "source": "directory", "root": 2017}
    assert resolve(params_yaml, {"datasets": {"mine": mine}}).datasets["mine"].root == Path("2017")


def paths_in(model: type[BaseModel], above: str = "") -> set[str]:
    """Return every setting whose value is a path."""
    paths = set()
    for name, field in model.model_fields.items():
        if "Path" in str(field.annotation):
            paths.add(f"{above}{name}")
        for inner in models_in(field.annotation):
            paths |= paths_in(inner, f"{above}{name}/")
    return paths


def test_a_tilde_means_the_home_folder_in_paths_alone(
    params_yaml: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths_in(Settings) == {
        "data_root",
        "base/encoder_weights",
        "datasets/root",
        "network/encoder_weights",
        "networks/encoder_weights",
        "tasks/picture",
        "tasks/weights",
    }
    mine = {"format": "paired", "source": "directory", "root": "~/pairs"}
    overrides = {
        "preset": "real",
        "data_root": "~/data",
        "base": {"encoder_weights": "~/vgg.pth"},
        "network": {"encoder": "resnet18", "encoder_weights": "~/resnet.pth"},
        "datasets": {"mine": mine, "coco": {"archives": ["~.zip"]}},
        "tasks": {"style-gogh": {"picture": "~/gogh.png", "weights": "~/w.pth"}},
    }
    settings = resolve(params_yaml, overrides)
    style = settings.tasks["style-gogh"]
    assert isinstance(style, StyleSettings)
    paths = [settings.data_root, settings.base.encoder_weights, settings.datasets["mine"].root, style.picture]
    assert [*paths, style.weights, settings.datasets["voc"].root] == [
        tmp_path / name for name in ("data", "vgg.pth", "pairs", "gogh.png", "w.pth", "data/voc")
    ]
    assert settings.network.initial_weights == tmp_path / "resnet.pth"
    assert settings.datasets["coco"].archives == ["~.zip"]
    assert resolve(params_yaml, {"preset": "real", "data_root": "a~/~b"}).data_root == Path("a~/~b")


def test_the_home_folder_of_another_user(params_yaml: Content) -> None:
    user = pwd.getpwuid(os.getuid())
    settings = resolve(params_yaml, {"preset": "real", "data_root": f"~{user.pw_name}/data"})
    assert settings.data_root == Path(user.pw_dir) / "data"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"target_range": [5, 5]},
            "target_range: the first value has to be below the second, found [5.0, 5.0]; correct them",
        ),
        ({"target_range": [0]}, "target_range.1: "),
        ({"layout": "folders"}, "layout: Input should be 'auto' or 'side-by-side'"),
    ],
)
def test_settings_of_pairs(params_yaml: Content, changes: Content, message: str) -> None:
    mine = {"format": "paired", "source": "directory", "root": "mine", "input_range": [0, 10000]}
    assert resolve(params_yaml, {"datasets": {"mine": mine}}).datasets["mine"].input_range == (0, 10000)
    with pytest.raises(SettingsError, match=re.escape(f"datasets.mine.{message}")):
        resolve(params_yaml, {"datasets": {"mine": {**mine, **changes}}})


def test_settings_of_pairs_are_refused_for_other_formats(params_yaml: Content) -> None:
    with pytest.raises(SettingsError, match=r"datasets\.voc: layout is a setting of format paired; leave it out"):
        resolve(params_yaml, nested("datasets/voc/layout", "auto"))
