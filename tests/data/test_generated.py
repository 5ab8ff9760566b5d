import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pycocotools.coco import COCO
from scipy.ndimage import maximum_filter, minimum_filter

from palimpsest.data.generated import (
    generate_coco,
    generate_voc,
    label_map,
    pictures,
)
from palimpsest.data.scenes import coco, voc
from palimpsest.data.scenes.drawing import Instance, Scene
from palimpsest.errors import DataError

SIZE = 48
COCO_IMAGES = {"train2017": 12, "val2017": 3, "unlabeled2017": 2}
VOC_IMAGES = {"train": 10, "val": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    generate_coco(folder, COCO_IMAGES, SIZE, seed=0)
    generate_voc(folder, VOC_IMAGES, SIZE, seed=0)
    return folder


def fingerprints(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


def settled(annotations: COCO, image_id: int) -> NDArray[np.uint8]:
    """Return the category of each pixel; of overlapping polygons the smaller wins."""
    entry = annotations.imgs[image_id]
    labels = np.zeros((entry["height"], entry["width"]), np.uint8)
    for annotation in sorted(annotations.imgToAnns[image_id], key=lambda annotation: -annotation["area"]):
        labels[annotations.annToMask(annotation) > 0] = annotation["category_id"]
    return labels


def test_coco_has_the_native_layout(root: Path) -> None:
    folder = root
    assert sorted(path.name for path in (folder / "annotations").iterdir()) == [
        "image_info_unlabeled2017.json",
        "instances_train2017.json",
        "instances_val2017.json",
    ]
    assert (folder / "train2017" / "000000000001.jpg").is_file()
    for split, count in COCO_IMAGES.items():
        kind = "image_info" if split == "unlabeled2017" else "instances"
        described = json.loads((folder / "annotations" / f"{kind}_{split}.json").read_text())
        assert len(described["images"]) == count == len(list((folder / split).iterdir()))
        assert ("annotations" in described) == (kind == "instances")
        for entry in described["images"]:
            with Image.open(folder / split / entry["file_name"]) as picture:
                assert picture.format == "JPEG"
                assert picture.mode == "RGB"
                assert picture.size == (entry["width"], entry["height"])
                assert min(picture.size) == SIZE
                assert max(picture.size) <= round(SIZE * 4 / 3)


def test_ids_of_coco_pictures_are_unique_over_the_splits(root: Path) -> None:
    names = [path.name for split in COCO_IMAGES for path in (root / split).iterdir()]
    assert len(set(names)) == sum(COCO_IMAGES.values())


def test_pycocotools_opens_the_annotations(root: Path) -> None:
    annotations = COCO(str(root / "annotations" / "instances_train2017.json"))
    names = {category["id"]: category["name"] for category in annotations.loadCats(annotations.getCatIds())}
    assert names == {
        10: "traffic light",
        13: "stop sign",
        38: "kite",
        52: "banana",
        55: "orange",
        60: "donut",
    }
    assert len(annotations.anns) == len(annotations.dataset["annotations"]) > 0
    for annotation in annotations.anns.values():
        mask = annotations.annToMask(annotation)
        x, y, width, height = annotation["bbox"]
        rows, columns = np.nonzero(mask)
        assert annotation["area"] == pytest.approx(mask.sum(), rel=0.1, abs=12)
        assert columns.min() >= x - 1
        assert rows.min() >= y - 1
        assert columns.max() <= x + width
        assert rows.max() <= y + height


def test_polygons_cover_the_painted_objects(root: Path) -> None:
    annotations = COCO(str(root / "annotations" / "instances_train2017.json"))
    agreeing = total = 0
    for image_id, scene in enumerate(pictures(coco.FAMILY, "train2017", 12, SIZE, seed=0), start=1):
        categories = np.array([*(instance.category for instance in scene.instances), 0])
        painted = categories[scene.owner]
        inside = maximum_filter(painted, 3) == minimum_filter(painted, 3)  # outlines fall between pixels
        agreeing += int((settled(annotations, image_id) == painted)[inside].sum())
        total += int(inside.sum())
    assert agreeing / total > 0.995


def test_objects_annotated_as_stop_signs_are_redder() -> None:
    inside, outside = [], []
    for scene in pictures(coco.FAMILY, "train2017", 40, SIZE, seed=0):
        signs = [rank for rank, instance in enumerate(scene.instances) if instance.category == 13]
        redness = scene.pixels[..., 0].astype(float) - scene.pixels[..., 1]
        sign = np.isin(scene.owner, signs)
        inside.append(redness[sign])
        outside.append(redness[~sign])
    assert np.concatenate(inside).mean() > np.concatenate(outside).mean() + 30


def test_voc_has_the_native_layout(root: Path) -> None:
    devkit = root / "VOCdevkit" / "VOC2012"
    listed = {
        split: (devkit / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split() for split in VOC_IMAGES
    }
    assert {split: len(names) for split, names in listed.items()} == VOC_IMAGES
    names = sorted(listed["train"] + listed["val"])
    assert sorted(path.stem for path in (devkit / "JPEGImages").iterdir()) == names
    assert sorted(path.stem for path in (devkit / "SegmentationClass").iterdir()) == names


def test_voc_label_maps_are_palette_png_of_class_indices_with_a_border(root: Path) -> None:
    devkit = root / "VOCdevkit" / "VOC2012"
    values: set[int] = set()
    for path in (devkit / "SegmentationClass").iterdir():
        with Image.open(path) as labels, Image.open(devkit / "JPEGImages" / f"{path.stem}.jpg") as picture:
            assert labels.mode == "P"
            assert labels.size == picture.size
            colours = np.reshape(labels.getpalette(), (256, 3))
            assert colours[[0, 1, 17, 255]].tolist() == [
                [0, 0, 0],
                [128, 0, 0],
                [128, 64, 0],
                [224, 224, 192],
            ]
            values |= set(np.unique(np.asarray(labels)).tolist())
    assert values <= {0, *voc.FAMILY.objects, 255}
    assert {0, 255} < values


@pytest.mark.parametrize("border", [1, 2, 3])
def test_the_border_of_a_label_map_has_the_requested_width(border: int) -> None:
    owner = np.full((1, 12), -1, np.int16)
    owner[:, 6:] = 0
    scene = Scene(np.zeros((1, 12, 3), np.uint8), (Instance(17, ()),), owner)
    labels = label_map(scene, border)[0]
    assert (labels == 255).sum() == border
    assert labels[0] == 0
    assert labels[-1] == 17


def test_every_class_occurs_in_both_families() -> None:
    for family, split in ((coco.FAMILY, "train2017"), (voc.FAMILY, "train")):
        scenes = pictures(family, split, 40, 32, seed=0)
        assert {instance.category for scene in scenes for instance in scene.instances} == set(family.objects)


def test_some_pictures_have_no_object() -> None:
    empty = [not scene.instances for scene in pictures(coco.FAMILY, "train2017", 120, 16, seed=0)]
    assert 0 < sum(empty) < 20


def test_same_seed_gives_the_same_bytes_and_another_seed_other_pictures(root: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        generate_coco(tmp_path / str(seed), COCO_IMAGES, SIZE, seed)
        generate_voc(tmp_path / str(seed), VOC_IMAGES, SIZE, seed)
    first, again, reseeded = fingerprints(root), fingerprints(tmp_path / "0"), fingerprints(tmp_path / "1")
    assert again == first
    assert reseeded.keys() == first.keys()
    assert not any(reseeded[name] == first[name] for name in first if name.endswith(".jpg"))


def test_a_higher_count_keeps_the_existing_pictures(root: Path, tmp_path: Path) -> None:
    generate_coco(tmp_path, {"train2017": 14}, SIZE, seed=0)
    generate_voc(tmp_path, {"train": 12}, SIZE, seed=0)
    before, after = fingerprints(root), fingerprints(tmp_path)
    pixels = [name for name in before if "train2017/" in name or "/2011_" in name]
    assert len(pixels) == 12 + 2 * 10
    assert all(after[name] == before[name] for name in pixels)


def test_splits_have_different_pictures() -> None:
    train, val = (next(pictures(coco.FAMILY, split, 1, SIZE, seed=0)).pixels for split in ("train2017", "val2017"))
    assert train.shape != val.shape or (train != val).any()


def test_an_unknown_split_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown split 'test2017'; did you mean 'train2017'"):
        generate_coco(tmp_path, {"test2017": 1}, SIZE, seed=0)
    with pytest.raises(DataError, match="unknown split 'trainval'; did you mean 'train'"):
        generate_voc(tmp_path, {"trainval": 1}, SIZE, seed=0)
    assert not list(tmp_path.iterdir())
