import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from palimpsest.errors import SettingsError
from palimpsest.methods import BASE
from palimpsest.params import dotted, merge_settings, read, resolve
from tests.conftest import nested

Content = dict[str, Any]


def test_every_preset_of_the_repository_resolves(params_yaml: Content) -> None:
    for preset in params_yaml["presets"]:
        settings = resolve(params_yaml, {"preset": preset})
        assert settings.preset == preset
        assert settings.base_task == "coco-seg"
        of_study = ["coco-seg", "voc-seg", "colorize", "style-gogh", "style-munch"]
        assert settings.sequence[:5] == of_study and len(settings.sequence) == (20 if preset == "twenty" else 5)


def test_every_preset_that_params_yaml_names_exists(root: Path, params_yaml: Content) -> None:
    (line,) = [
        line for line in (root / "params.yaml").read_text("utf-8").splitlines() if line.startswith("preset:")
    ]
    assert {name.strip() for name in line.partition("#")[2].split("|")} == set(params_yaml["presets"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("metods", "metods: unknown setting; did you mean 'methods'?"),
        ("network/widht", "network.widht: unknown setting; did you mean 'width'?"),
        ("training/batchsize", "training.batchsize: unknown setting; did you mean 'batch_size'?"),
        ("datasets/coco/archive", "datasets.coco.archive: unknown setting; did you mean 'archives'?"),
        ("tasks/voc-seg/clases", "tasks.voc-seg.clases: unknown setting; did you mean 'classes'?"),
        ("tasks/voc-seg/training/step", "tasks.voc-seg.training.step: unknown setting; did you mean 'steps'?"),
        ("tasks/style-gogh/tvweight", "tasks.style-gogh.tvweight: unknown setting; did you mean 'tv_weight'?"),
        ("method_settings/pigyback", "method_settings: unknown method 'pigyback'; did you mean 'piggyback'?"),
        ("method_settings/scratch", "method_settings.scratch: the method has no settings; remove the key"),
        (
            "method_settings/piggyback/treshold",
            "method_settings.piggyback.treshold: unknown setting; did you mean 'threshold'?",
        ),
    ],
)
@pytest.mark.parametrize("where", ["defaults", "preset", "command line"])
def test_an_unknown_key_is_refused_with_its_path_and_the_nearest_name(
    params_yaml: Content, path: str, message: str, where: str
) -> None:
    overrides = nested(path, 1) if where == "command line" else {}
    if where == "defaults":
        params_yaml["defaults"] = merge_settings(params_yaml["defaults"], nested(path, 1))
    if where == "preset":
        params_yaml["presets"]["mini"] = merge_settings(params_yaml["presets"]["mini"], nested(path, 1))
    with pytest.raises(SettingsError) as error:
        resolve(params_yaml, overrides)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("group", "name", "entry"),
    [
        ("datasets", "paired", {"format": "paired", "source": "directory", "root": "x", "inputside": "left"}),
        ("tasks", "style", {"kind": "colorization", "data": "coco", "inputside": "left"}),
    ],
)
def test_the_path_may_contain_names_that_are_kinds_of_task(
    params_yaml: Content, group: str, name: str, entry: Content
) -> None:
    with pytest.raises(SettingsError, match=rf"^{group}\.{name}\.inputside: unknown setting"):
        resolve(params_yaml, {group: {name: entry}})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("training/learning_rate", -1e-3, r"training\.learning_rate: .*greater than 0"),
        ("training/learning_rate", float("inf"), r"training\.learning_rate: .*finite"),
        ("training/learning_rate", float("nan"), r"training\.learning_rate: "),
        ("training/steps", 0, r"training\.steps: .*greater than or equal to 1"),
        ("training/steps", "many", r"training\.steps: .*integer"),
        ("training/steps", 2.5, r"training\.steps: .*integer"),
        ("training/warmup", 1.5, r"training\.warmup: .*less than or equal to 1"),
        ("network/width", 0, r"network\.width: .*greater than or equal to 1"),
        ("network/padding", "mirror", r"network\.padding: .*'reflect'"),
        ("pictures/crop", 1024, r"pictures: crop \(1024\) is larger than size \(\d+\); lower crop"),
        ("pictures/size", 72, r"pictures\.size: .*multiple of 16"),
        ("pictures/crop", 16, r"pictures\.crop: .*greater than or equal to 32"),
        ("pictures/broken_share", -0.1, r"pictures\.broken_share: "),
        ("seeds", [], r"seeds: .*at least 1 item"),
        ("seeds", [0, -1], r"seeds\.1: .*greater than or equal to 0"),
        ("seeds", [0, 1, 0], "seeds: duplicate entry 0; remove one"),
        ("sequence", [], r"sequence: .*at least 1 item"),
        ("sequence", ["coco-seg", "voc-seg", "coco-seg"], "sequence: duplicate entry 'coco-seg'; remove one"),
        ("sequence", ["coco-seg", "voc-sge"], "sequence: unknown name 'voc-sge'; did you mean 'voc-seg'?"),
        ("methods", ["scratch", "pigyback"], "methods: unknown name 'pigyback'; did you mean 'piggyback'?"),
        ("methods", ["scratch", "scratch"], "methods: duplicate entry 'scratch'; remove one"),
        ("methods", [BASE], "methods: unknown name 'base'"),
        ("tasks/voc-seg/data", "vok", r"tasks\.voc-seg\.data: unknown data set 'vok'; did you mean 'voc'?"),
        ("tasks/voc-seg/kind", "segmentaton", r"tasks\.voc-seg.*'segmentation'"),
        ("tasks/voc-seg/data", "../voc", r"tasks\.voc-seg\.data: "),
        ("tasks/voc-seg/images/train", 0, r"tasks\.voc-seg\.images\.train: "),
        ("tasks/a b", {"kind": "colorization", "data": "coco"}, r"tasks\.a b"),
        ("datasets/voc/source", "internet", r"datasets\.voc\.source: "),
        ("datasets/voc/source", "directory", r"datasets\.voc: .*needs a root"),
        ("datasets/voc/source", "download", r"datasets\.voc: .*archives"),
        ("datasets/voc/format", "pictures", r"datasets\.voc: side is a setting of format coco and voc and paired"),
        ("datasets/voc/format", "paired", r"datasets\.voc: .*set degradation"),
        ("method_settings/piggyback/initial_score", 1e-3, r"method_settings\.piggyback: .*above threshold"),
        ("method_settings/piggyback/initial_score", float("nan"), r"method_settings\.piggyback"),
        ("training", 3, "training: "),
        ("tasks", ["voc-seg"], "tasks"),
        ("data_root", 2017.1, r"data_root: has to be a path, found 2017\.1; write it as \./NAME"),
        ("data_root", ["a"], "data_root: .*path"),
        ("tasks/voc-seg/classes", {"background": ["sheep"]}, r"tasks\.voc-seg\.classes: 'background' is class 0"),
        ("tasks/voc-seg/classes", {"empty": []}, r"tasks\.voc-seg\.classes\.empty: .*at least 1 item"),
        (
            "tasks/colorize/splits",
            {"train": "val"},
            r"tasks\.colorize\.splits: train and val are both 'val', and tr",
        ),
        ("preset", "mimi", "preset: unknown value 'mimi'; did you mean 'mini'?"),
        ("preset", ["mini"], "preset"),
        ("preset", None, "preset"),
    ],
)
def test_an_impossible_value_is_refused_with_its_path(
    params_yaml: Content, path: str, value: object, message: str
) -> None:
    with pytest.raises(SettingsError, match=message.replace("?", r"\?")):
        resolve(params_yaml, nested(path, value))


def test_a_kind_of_task_needs_a_data_set_of_its_format(params_yaml: Content) -> None:
    for kind, data, options in (("paired", "coco", {}), ("segmentation", "pairs", {"classes": {"a": ["b"]}})):
        overrides = {
            "datasets": {"pairs": {"format": "paired", "source": "directory", "root": "pairs"}},
            "tasks": {"mine": {"kind": kind, "data": data, **options}},
            "sequence": ["coco-seg", "mine"],
        }
        with pytest.raises(SettingsError, match=r"tasks\.mine\.data"):
            resolve(params_yaml, overrides)


def test_a_class_name_that_metrics_cannot_contain_is_refused(params_yaml: Content) -> None:
    accepted = resolve(params_yaml, nested("tasks/voc-seg/classes", {"café table": ["dog"]}))
    assert accepted.tasks["voc-seg"].classes["café table"] == ["dog"]
    with pytest.raises(SettingsError, match=r"tasks\.voc-seg\.classes.*cup & saucer"):
        resolve(params_yaml, nested("tasks/voc-seg/classes", {"cup & saucer": ["dog"]}))


@pytest.mark.parametrize(
    ("changes", "key", "size"),
    [
        ({"batch_size": 16}, "training.batch_size", 16),
        ({"batch_size": 15}, "tasks.style-gogh.training.batch_size", 8),
    ],
)
def test_devices_that_cannot_share_a_batch_equally_are_refused(
    params_yaml: Content, changes: Content, key: str, size: int
) -> None:
    message = f"training.devices: 3 devices cannot share a batch of {size} pictures equally ({key}); "
    with pytest.raises(SettingsError, match=f"^{re.escape(message)}"):
        resolve(params_yaml, {"training": {"devices": 3, **changes}})
    resolve(params_yaml, {"training": {"devices": 4}})
    alone = {"sequence": ["coco-seg", "voc-seg"], "training": {"devices": 3, "batch_size": 15}}
    resolve(params_yaml, alone)
    with pytest.raises(
        SettingsError, match=r"\(autoencoder\.batch_size\); set autoencoder\.batch_size to a multiple"
    ):
        resolve(params_yaml, {**alone, "autoencoder": {"batch_size": 4}})


def test_packnet_has_to_leave_weights_for_later_tasks(params_yaml: Content) -> None:
    keep_all = {"method_settings": {"packnet": {"keep": 1}}, "methods": ["packnet"]}
    with pytest.raises(SettingsError, match=r"^method_settings\.packnet\.keep: Input should be less than 1"):
        resolve(params_yaml, keep_all)


def test_several_faults_are_reported_together(params_yaml: Content) -> None:
    with pytest.raises(SettingsError, match=r"network\.width: .*; training\.stepz: "):
        resolve(params_yaml, {"network": {"width": 0}, "training": {"stepz": 1}})


@pytest.mark.parametrize(
    "content",
    [
        {"preset": "mini", "presets": ["mini"]},
        {"preset": "mini", "presets": {"mini": "small"}},
        {"preset": "mini", "presets": {"mini": {}}, "defaults": ["scratch"]},
        {"preset": "mini"},
        {},
    ],
)
def test_a_file_of_another_shape_is_refused(content: Content) -> None:
    with pytest.raises(SettingsError, match=r"preset|defaults"):
        resolve(content)


def test_a_setting_of_a_preset_is_refused_at_the_top_where_dvc_ignores_it(params_yaml: Content) -> None:
    with pytest.raises(SettingsError, match=r"training: misplaced at the top of params.yaml; move it"):
        resolve({**params_yaml, "training": {"steps": 3}})
    with pytest.raises(SettingsError, match=r"seed: unknown setting; did you mean 'seeds'\?"):
        resolve({**params_yaml, "seed": 1})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"preset: [mini\nseeds: 0", r"params\.yaml, line 2: is not valid YAML"),
        (b"preset: \x00", r"params\.yaml: is not valid YAML"),
        (b"a: 1\npreset: 2024-13-01", r"params\.yaml, line 2: is not valid YAML \(month"),
        (b"seeds: !!int one", r"params\.yaml, line 1: is not valid YAML \(invalid literal"),
        (b"!!map mini", r"params\.yaml, line 1: is not valid YAML \(expected a mapping"),
        (b"[" * 3000, r"params\.yaml: is not valid YAML \(maximum recursion"),
        (b"preset: M\xfcnchen", r"params\.yaml"),
        (b"? [a, b]\n: 1", r"params\.yaml"),
        (b"", r"params\.yaml: has to be a mapping"),
        (b"- mini", r"params\.yaml: has to be a mapping"),
        (b"tasks:\n  a: 1\n  b: 2\n  a: 3\n", r"params\.yaml, line 4: duplicate key 'a'; remove one$"),
    ],
)
def test_a_file_that_is_no_mapping_in_yaml_is_refused(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "params.yaml").write_bytes(text)
    with pytest.raises(SettingsError, match=message):
        read(tmp_path / "params.yaml")


YAML = [
    "!!int ",
    "!!map ",
    "!!set ",
    "!!timestamp ",
    "!!bool ",
    "!!binary ",
    "&a ",
    "*a ",
    "? ",
    "- ",
    ": ",
    "<<: ",
]
YAML += ["{", "}", "[", "]", "\t", "\n", '"', "0b_", "1:99", "2024-99-99", "---\n", "%", "\0", "a", "1", " "]


@given(parts=st.lists(st.sampled_from(YAML), max_size=12), position=st.integers(0, 1500))
def test_any_text_is_read_or_named(tmp_path: Path, root: Path, parts: list[str], position: int) -> None:
    content = (root / "params.yaml").read_text("utf-8")[:1500]
    for text in ("".join(parts), content[:position] + "".join(parts) + content[position:]):
        (tmp_path / "params.yaml").write_text(text, "utf-8")
        try:
            assert isinstance(read(tmp_path / "params.yaml"), dict)
        except SettingsError as error:
            assert "params.yaml" in str(error)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere\.yaml: cannot be read \(No such file"):
        read(tmp_path / "nowhere.yaml")


def test_the_preset_overrides_the_defaults_and_the_command_line_both(params_yaml: Content) -> None:
    preset = params_yaml["presets"]["mini"]
    settings = resolve(params_yaml, {"training": {"batch_size": 3}})
    assert preset["network"]["width"] == settings.network.width
    assert params_yaml["defaults"]["autoencoder"]["learning_rate"] == settings.autoencoder.learning_rate
    scales = [
        resolve(params_yaml, {"preset": name}).tasks["style-gogh"].training.smallest_scale
        for name in ("mini", "paper")
    ]
    assert scales == [0.3, 0.75]
    assert settings.training.steps == preset["training"]["steps"]
    assert settings.training.batch_size == 3 != preset["training"]["batch_size"]
    assert resolve(params_yaml, {"seeds": [1, 2, 3]}).seeds == [1, 2, 3]
    assert resolve(params_yaml, {"sequence": ["coco-seg"]}).sequence == ["coco-seg"]


def test_text_of_a_command_line_becomes_numbers(params_yaml: Content) -> None:
    training = resolve(params_yaml, {"training": {"steps": "40", "learning_rate": "1e-3"}}).training
    assert (training.steps, training.learning_rate) == (40, 0.001)
    written = yaml.safe_load("learning_rate: 1e-3")  # without a point YAML reads text
    assert resolve(params_yaml, {"training": written}).training.learning_rate == 0.001


def test_a_data_root_replaces_downloads(params_yaml: Content) -> None:
    settings = resolve(params_yaml, {"preset": "real", "data_root": "/pictures"})
    assert {name: (d.source, d.root) for name, d in settings.datasets.items()} == {
        "coco": ("directory", Path("/pictures/coco")),
        "voc": ("directory", Path("/pictures/voc")),
    }
    assert {d.source for d in resolve(params_yaml, {"preset": "real"}).datasets.values()} == {"download"}


def test_a_data_root_leaves_an_explicit_folder_alone(params_yaml: Content) -> None:
    mine = {"format": "paired", "source": "directory", "root": "mine"}
    settings = resolve(params_yaml, {"preset": "real", "data_root": "/pictures", "datasets": {"mine": mine}})
    assert settings.datasets["mine"].root == Path("mine")


def test_a_data_root_is_refused_where_pictures_are_generated(params_yaml: Content) -> None:
    with pytest.raises(SettingsError, match="data_root: preset 'mini' generates its pictures"):
        resolve(params_yaml, {"data_root": "/pictures"})


def test_a_data_set_without_a_format_is_refused_under_a_data_root_too(params_yaml: Content) -> None:
    with pytest.raises(SettingsError, match=r"datasets\.mine\.format: missing; choose from coco, "):
        resolve(params_yaml, {"preset": "real", "data_root": "/x", "datasets": {"mine": {"source": "download"}}})


def test_an_unset_split_is_that_of_the_same_name(params_yaml: Content) -> None:
    mine = {"mine": {"kind": "colorization", "data": "coco", "splits": {"train": "unlabeled"}}}
    assert resolve(params_yaml, {"tasks": mine}).tasks["mine"].splits == {"train": "unlabeled", "val": "val"}


def test_resolving_leaves_its_arguments_alone(params_yaml: Content) -> None:
    before = copy.deepcopy(params_yaml)
    resolve(params_yaml, {"preset": "real", "data_root": "/pictures"})
    assert params_yaml == before


def test_style_tasks_get_the_weights_file_of_their_preset(params_yaml: Content) -> None:
    real, mini = resolve(params_yaml, {"preset": "real"}), resolve(params_yaml)
    assert real.tasks["style-gogh"].weights == Path("data/real/raw/weights/squeezenet.pth")
    assert mini.tasks["style-gogh"].weights is None
    named = resolve(params_yaml, {"preset": "real", **nested("tasks/style-gogh/weights", "own.pth")})
    assert named.tasks["style-gogh"].weights == Path("own.pth")


def test_the_name_of_a_variant_is_no_setting(content: Content) -> None:
    with pytest.raises(SettingsError, match=r"^variant: unknown setting"):
        resolve(content, {"variant": {"name": "x", "shares": "none"}})


@pytest.mark.parametrize(
    ("path", "new"),
    [
        ("training/task_pace", "head_lr_multiplier"),
        ("method_settings/adapter/pace", "lr_multiplier"),
        ("method_settings/piggyback/score_share", "score_lr_end"),
    ],
)
def test_a_renamed_setting_is_refused_with_its_new_name(content: Content, path: str, new: str) -> None:
    key = path.replace("/", ".")
    with pytest.raises(SettingsError, match=rf"^{re.escape(key)}: was renamed; write {new} in its place$"):
        resolve(content, nested(path, 1.0))


def leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(values, dict) and values:
        for key, value in values.items():
            yield from leaves(value, (*path, key))
    else:
        yield path


def test_the_defaults_of_params_yaml_repeat_no_default_of_the_code(params_yaml: Content) -> None:
    resolved = {preset: resolve(params_yaml, {"preset": preset}) for preset in params_yaml["presets"]}

    def is_repeated(path: tuple[str, ...]) -> bool:
        shorter = copy.deepcopy(params_yaml)
        group = shorter["defaults"]
        for key in path[:-1]:
            group = group[key]
        del group[path[-1]]
        try:
            return all(resolve(shorter, {"preset": preset}) == settings for preset, settings in resolved.items())
        except SettingsError:
            return False  # a required setting

    assert [path for path in leaves(params_yaml["defaults"]) if is_repeated(path)] == []


def test_nested_settings_have_dotted_names_in_their_order() -> None:
    names = dotted({"b": {"c": {"d": None}, "e": [1, 2]}, "a": 1, "f": {}})
    assert list(names.items()) == [("b.c.d", None), ("b.e", [1, 2]), ("a", 1)]
