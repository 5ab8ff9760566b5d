"""Files that a run announces before it downloads them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palimpsest.data.public_checks import SMALL_COCO
from palimpsest.download_note import download_note
from palimpsest.params import resolve
from palimpsest.settings import Settings


@pytest.fixture
def resolved(
    params_yaml: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Settings]:
    """Return a function that overrides the repository's settings, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda over: resolve(params_yaml, over)


def test_the_note_on_downloads_lists_files_and_sizes(resolved: Callable[..., Settings]) -> None:
    settings = resolved({"preset": "real", "network": {"encoder": "resnet18"}})
    assert download_note(settings, ["coco", "voc"], ["squeezenet"], ["resnet18"]) == (
        "the run downloads val2017.zip, annotations_trainval2017.zip, VOCtrainval_11-May-2012.tar, "
        "squeezenet1_1-b8a52dc0.pth (3.1 GB) and the weights of resnet18 from timm's hub; to avoid that, set "
        "data_root to a folder with coco/, voc/ and weights/ and set network.encoder_weights to a file with timm's "
        "weights"
    )
    archives = settings.layout.raw / "archives"
    archives.mkdir(parents=True)
    for name in (*SMALL_COCO, "VOCtrainval_11-May-2012.tar"):
        (archives / name).touch()
    assert download_note(settings, ["coco", "voc"], [], []) == ""


def test_the_note_on_weights_names_their_folder(resolved: Callable[..., Settings], tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    settings = resolved({"preset": "real", "data_root": str(folder)})
    assert download_note(settings, ["coco", "voc"], ["squeezenet"], []) == (
        "the run downloads squeezenet1_1-b8a52dc0.pth (5 MB); to avoid that, put the weights into "
        f"{folder}/weights/"
    )
    (folder / "weights").mkdir(parents=True)
    (folder / "weights/squeezenet1_1_features.pth").touch()
    assert download_note(settings, ["coco", "voc"], ["squeezenet"], []) == ""
