import json
from pathlib import Path

import pytest
from PIL import Image

from palimpsest.data import sources
from palimpsest.data.coco import CocoFolder
from palimpsest.data.paired import PairedFolder
from palimpsest.data.paired_settings import PairedDatasetSettings
from palimpsest.data.public_settings import PublicDatasetSettings
from palimpsest.data.settings import DatasetSettings
from palimpsest.data.sources import (
    classes_of,
    download,
    open_dataset,
    provide,
    provide_weights,
    root_of,
)
from palimpsest.data.voc import VocFolder
from palimpsest.errors import DataError, SettingsError
from palimpsest.jobs import PreparationJob

COCO = PublicDatasetSettings(format="coco", source="generated", side=32, generate={"train2017": 2, "val2017": 1})
VOC = PublicDatasetSettings(format="voc", source="generated", side=32, generate={"train": 2, "val": 1})


def preparation(
    dataset: DatasetSettings, classes: dict[str, list[str]] | None, others: str | None
) -> PreparationJob:
    return PreparationJob(
        dataset=dataset,
        size=32,
        broken_share=0,
        kind="segmentation",
        data="a",
        splits={"train": "train", "val": "val"},
        images={},
        additional_pictures={},
        classes=classes,
        others=others,  # type: ignore[arg-type]
    )


def below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(("settings", "reader"), [(COCO, CocoFolder), (VOC, VocFolder)])
def test_a_generated_data_set_is_listed_and_can_be_read(
    tmp_path: Path, settings: DatasetSettings, reader: type
) -> None:
    folder = tmp_path / "set"
    provide(settings, folder, folder / "manifest.json")
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert listed.keys() == below(folder).keys() - {"manifest.json"}
    dataset = open_dataset(settings, folder)
    assert isinstance(dataset, reader)
    assert [len(dataset.records(split)) for split in ("train", "val")] == [2, 1]


def test_generating_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        provide(VOC, tmp_path / name, tmp_path / name / "manifest.json")
    assert below(tmp_path / "one") == below(tmp_path / "two")


def test_a_folder_of_the_user_is_listed_and_not_written_to(tmp_path: Path) -> None:
    root, folder = tmp_path / "mine", tmp_path / "raw"
    (root / "train" / "input").mkdir(parents=True)
    (root / "train" / "input" / "a.png").write_bytes(b"a")
    settings = PairedDatasetSettings(format="paired", source="directory", root=root)
    provide(settings, folder, folder / "manifest.json")
    assert list(below(root)) == ["train/input/a.png"] and list(below(folder)) == ["manifest.json"]
    assert list(json.loads((folder / "manifest.json").read_text())["files"]) == ["train/input/a.png"]
    assert root_of(settings, folder) == root and root_of(COCO, folder) == folder


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    settings = PublicDatasetSettings(format="coco", source="directory", root=tmp_path / "nowhere")
    with pytest.raises(DataError, match="nowhere: no such folder"):
        provide(settings, tmp_path / "raw", tmp_path / "raw" / "manifest.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_input_is_the_half_of_the_setting(tmp_path: Path, side: str) -> None:
    pair = Image.new("RGB", (8, 4), "red")
    pair.paste("blue", (4, 0, 8, 4))
    (tmp_path / "train").mkdir()
    pair.save(tmp_path / "train" / "a.png")
    settings = PairedDatasetSettings(format="paired", source="directory", root=tmp_path, input_side=side)  # type: ignore[arg-type]
    dataset = open_dataset(settings, tmp_path)
    assert isinstance(dataset, PairedFolder)
    (record,) = dataset.records("train")
    assert dataset.pair(record)[0][0, 0].tolist() == ([255, 0, 0] if side == "left" else [0, 0, 255])


@pytest.mark.parametrize(("others", "label"), [("background", 0), ("ignored", 255)])
def test_classes_group_categories_and_others_get_the_label_of_the_setting(
    tmp_path: Path, others: str, label: int
) -> None:
    provide(VOC, tmp_path, tmp_path / "manifest.json")
    dataset = open_dataset(VOC, tmp_path)
    classes = classes_of("a", preparation(VOC, {"water": ["boat"], "meadow": ["sheep", "cow"]}, others), dataset)
    assert classes is not None
    assert classes.names == ("background", "water", "meadow") and classes.other_label == label
    assert classes.class_of == {"boat": 1, "sheep": 2, "cow": 2}
    with pytest.raises(SettingsError, match=r"tasks\.mine\.classes\.meadow: .*did you mean 'sheep'"):
        classes_of("mine", preparation(VOC, {"meadow": ["sheeep"]}, others), dataset)


def test_a_task_without_classes_has_none(tmp_path: Path) -> None:
    provide(VOC, tmp_path, tmp_path / "manifest.json")
    assert classes_of("a", preparation(VOC, None, None), open_dataset(VOC, tmp_path)) is None


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Return the recorded downloads, extractions and splits; files are written and nothing is transferred."""
    calls: list[tuple[str, ...]] = []

    def fetch(name: str, folder: Path) -> Path:
        calls.append(("fetch", name, folder.name))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"fetched")
        return folder / name

    monkeypatch.setattr(sources, "fetch", fetch)
    monkeypatch.setattr(sources, "unpack", lambda file, to: calls.append(("unpack", file.name, to.name)))
    monkeypatch.setattr(sources, "split_val2017", lambda source, to: calls.append(("split", source.name, to.name)))
    return calls


def test_coco_without_its_training_pictures_is_split(tmp_path: Path, fetched: list[tuple[str, ...]]) -> None:
    settings = PublicDatasetSettings(format="coco", source="download", archives=["val2017.zip", "annotations.zip"])
    download(settings, tmp_path / "coco")
    assert fetched == [
        ("fetch", "val2017.zip", "archives"),
        ("unpack", "val2017.zip", "coco-val2017"),
        ("fetch", "annotations.zip", "archives"),
        ("unpack", "annotations.zip", "coco-val2017"),
        ("split", "coco-val2017", "coco"),
    ]


@pytest.mark.parametrize(("format", "archive"), [("coco", "train2017.zip"), ("voc", "VOCtrainval.tar")])
def test_a_full_data_set_is_unpacked_into_its_folder(
    tmp_path: Path, fetched: list[tuple[str, ...]], format: str, archive: str
) -> None:
    download(PublicDatasetSettings(format=format, source="download", archives=[archive]), tmp_path / "set")  # type: ignore[arg-type]
    assert fetched == [("fetch", archive, "archives"), ("unpack", archive, "set")]


def test_weights_in_the_folder_of_data_sets_are_used(tmp_path: Path, fetched: list[tuple[str, ...]]) -> None:
    (tmp_path / "root" / "weights").mkdir(parents=True)
    (tmp_path / "root" / "weights" / "vgg16-397923af.pth").write_bytes(b"near")
    provide_weights("vgg16", tmp_path / "raw" / "vgg16.pth", tmp_path / "root")
    assert (tmp_path / "raw" / "vgg16.pth").read_bytes() == b"near" and fetched == []


def test_local_weights_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    local = tmp_path / "root" / "weights" / "squeezenet1_1.pth"
    local.parent.mkdir(parents=True)
    local.symlink_to("gone.pth")
    with pytest.raises(
        DataError,
        match=rf"^{local}: cannot be read \(No such file or directory\); correct this",
    ):
        provide_weights("squeezenet", tmp_path / "out.pth", tmp_path / "root")
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


@pytest.mark.parametrize("root", [None, "elsewhere"])
def test_weights_are_fetched_if_missing(tmp_path: Path, fetched: list[tuple[str, ...]], root: str | None) -> None:
    provide_weights("squeezenet", tmp_path / "raw" / "squeezenet.pth", tmp_path / root if root else None)
    assert fetched == [("fetch", "squeezenet1_1-b8a52dc0.pth", "raw")]
    assert (tmp_path / "raw" / "squeezenet.pth").read_bytes() == b"fetched"
