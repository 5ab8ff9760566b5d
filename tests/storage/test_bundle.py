"""A bundle has the outputs of the stored tasks, without the study."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import palimpsest
from palimpsest.bundling import bundle_study
from palimpsest.composing import composed_translator
from palimpsest.composition import UNBLENDED
from palimpsest.data.pictures import DEFAULT_LIMITS
from palimpsest.data.voc import palette
from palimpsest.errors import DataError, SettingsError
from palimpsest.methods import METHODS
from palimpsest.storage.bundle_file import (
    BASE,
    DATA_TYPES,
    FORMAT,
    part_of,
)
from palimpsest.storage.bundle_header import Header, TaskEntry
from palimpsest.storage.stored_task import open_task
from palimpsest.storage.task_file import load_task, save_task
from tests.conftest import ROOT
from tests.storage.conftest import FILE

Study = Any
NewStudy = Callable[..., Study]
PICTURES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def output(network: nn.Module) -> Tensor:
    with torch.inference_mode():
        prediction: Tensor = network(PICTURES)
    return prediction


def change_masks(study: Study, share: float) -> None:
    """Give the stored masks of piggyback random bits, of which this share is one."""
    generator = np.random.default_rng(0)

    def changed(name: str, tensor: Tensor) -> Tensor:
        if not name.endswith(".mask"):
            return tensor
        return torch.from_numpy(np.packbits(generator.random(8 * tensor.numel()) < share))

    for task in study.settings.sequence:
        stored = load_task(study.stored("piggyback").path(task))
        parts = [
            replace(part, tensors={name: changed(name, tensor) for name, tensor in part.tensors.items()})
            for part in stored.components
        ]
        save_task(stored.path, parts, stored.provenance)


@pytest.mark.parametrize("method", METHODS)
def test_a_bundle_has_the_outputs_of_the_stored_tasks(
    stored_study: NewStudy, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = stored_study(method)
    last = study.settings.sequence[-1]
    expected = {name: output(study.stored(method).network(name, after=last)) for name in study.settings.sequence}
    bundle_study(study.settings, 0, method).save(tmp_path / FILE)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    bundle = palimpsest.open(tmp_path / FILE)
    assert bundle.tasks == study.settings.sequence
    switcher = bundle.switcher()
    for name in bundle.tasks:
        assert torch.equal(output(bundle.network(name)), expected[name])
        assert torch.equal(output(switcher.switch(name)), expected[name])


def test_the_base_network_is_in_the_file_once(bundled: Study) -> None:
    tensors = load_file(FILE)
    weights = {key: tensor for key, tensor in tensors.items() if tensor.ndim == 4 and "head" not in key}
    assert weights and all(part_of(key)[0] == BASE for key in weights)
    assert len([key for key in tensors if key.endswith(".mask")]) == 2 * len(weights)


def test_the_same_study_gives_the_same_bytes(bundled: Study) -> None:
    bundle_study(bundled.settings, 0, "piggyback").save(Path("again.safetensors"))
    assert Path("again.safetensors").read_bytes() == FILE.read_bytes()


def test_some_tasks_can_be_bundled(bundled: Study) -> None:
    bundle_study(bundled.settings, 0, "piggyback", ["colour", "shapes"]).save(FILE)
    assert palimpsest.open(FILE).tasks == ["shapes", "colour"]
    with pytest.raises(SettingsError, match="unknown task 'color'; did you mean 'colour'"):
        bundle_study(bundled.settings, 0, "piggyback", ["color"])


def test_the_base_task_alone_is_a_whole_network(bundled: Study) -> None:
    expected = output(bundled.stored("piggyback").network("shapes"))
    bundle_study(bundled.settings, 0, "piggyback", ["shapes"]).save(FILE)
    assert torch.equal(output(palimpsest.open(FILE).network("shapes")), expected)


def test_weights_of_16_bits_take_half_of_the_space(bundled: Study) -> None:
    half = Path("half.safetensors")
    bundle_study(bundled.settings, 0, "piggyback", dtype="float16").save(half)
    whole, smaller = load_file(FILE), load_file(half)
    for key, tensor in whole.items():
        assert smaller[key].nbytes == tensor.nbytes // (2 if tensor.ndim >= 2 else 1), key
    for name in bundled.settings.sequence:
        expected = output(palimpsest.open(FILE).network(name))
        torch.testing.assert_close(output(palimpsest.open(half).network(name)), expected, atol=0.05, rtol=0.05)


def test_pictures_of_every_kind_are_translated(bundled: Study) -> None:
    random_pixels = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
    Image.fromarray(random_pixels).save("one.png")
    bundle = palimpsest.open(FILE)
    coloured = bundle.translate("colour", "one.png")
    assert (coloured.mode, coloured.size) == ("RGB", (50, 37))
    for picture in (Path("one.png"), Image.open("one.png"), random_pixels):
        assert bundle.translate("colour", picture) == coloured
    labels = bundle.translate("shapes", "one.png")
    assert (labels.mode, labels.size) == ("P", (50, 37)) and np.asarray(labels).max() <= 2
    assert np.array_equal(np.asarray(labels.convert("RGB")), palette()[np.asarray(labels)])
    with pytest.raises(SettingsError, match=r"unknown task of all\.safetensors 'color'; did you mean 'colour'"):
        bundle.translate("color", "one.png")
    turned = Image.open("one.png")
    turned.getexif()[0x0112] = 6
    turned.save("turned.png", exif=turned.getexif())
    assert bundle.translate("colour", Image.open("turned.png")) == bundle.translate("colour", "turned.png")
    assert bundle.translate("colour", Image.open("turned.png")).size == (37, 50)


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.zeros((2, 2)), r"expected uint8 \(H, W, 3\) with pixels, found float64 \(2, 2\); convert it"),
        (np.zeros((0, 0, 3), np.uint8), r"expected uint8 .* with pixels, found uint8 \(0, 0, 3\); convert it"),
        (None, "expected a path, a picture of Pillow or an array, found NoneType; convert it"),
        (b"one.png", "expected a path, a picture of Pillow or an array, found bytes; convert it"),
        (Image.new("RGB", (0, 4)), "0×4 pixels; use a picture with pixels"),
    ],
)
def test_other_pictures_are_refused_with_one_line(picture: Any, message: str, bundled: Study) -> None:
    with pytest.raises(DataError, match=f"^the picture: {message}$"):
        palimpsest.open(FILE).translate("colour", picture)


def test_the_header_says_what_inference_needs(bundled: Study) -> None:
    bundle = palimpsest.open(FILE)
    shapes, colour = bundle.entry("shapes"), bundle.entry("colour")
    assert (shapes.kind, shapes.size, shapes.working_scale, shapes.classes) == (
        "segmentation",
        32,
        "trained",
        ["background", "red", "blue"],
    )
    assert shapes.palette == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    assert colour.components.keys() == {"mask", "batchnorm", "head"} and colour.classes is None
    assert (colour.origin.commit, colour.origin.data_sha256, colour.origin.seed) == ("c0ffee", "da7a", 0)
    assert colour.origin.settings["training"]["learning_rate"] == 0.01
    assert colour.quality is None  # the study has no measurements


def test_the_measured_quality_is_that_after_the_last_task(bundled: Study) -> None:
    table = bundled.layout.evaluation(0, "piggyback") / "metrics.csv"
    table.parent.mkdir(parents=True)
    rows = ["shapes,shapes,miou,50", "shapes,colour,miou,40", "shapes,colour,iou/red,nan", "colour,colour,ssim,0.5"]
    table.write_text("task,after,metric,value,images\n" + "".join(f"{row},80\n" for row in rows))
    bundle = bundle_study(bundled.settings, 0, "piggyback")
    quality = bundle.entry("shapes").quality
    assert quality is not None and (quality.metrics, quality.images, quality.split) == ({"miou": 40.0}, 80, "val")


def test_absolute_paths_do_not_leave_the_machine(new_study: NewStudy) -> None:
    Image.new("RGB", (40, 40), "orange").save("painting.png")
    painted = {"kind": "style", "data": "drawn", "perceptual": "random"}
    study = new_study(
        tasks={"painted": {**painted, "picture": str(Path("painting.png").resolve())}},
        sequence=["shapes", "painted"],
    )
    study.store_untrained("base", "shapes")
    study.store_untrained("piggyback", "painted")
    bundle_study(study.settings, 0, "piggyback").save(FILE)
    Path("painting.png").unlink()
    assert str(Path.cwd()).encode() not in FILE.read_bytes()
    assert palimpsest.open(FILE).entry("painted").settings["picture"] == "painting.png"
    assert palimpsest.open(FILE).translate("painted", Image.new("RGB", (32, 32))).size == (32, 32)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_numpy_alone_decodes_a_mask_and_computes_a_layer(
    share: float, stored_study: NewStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = stored_study("piggyback", network={"width": 32})
    change_masks(study, share)
    bundle = bundle_study(study.settings, 0, "piggyback")
    bundle.save(tmp_path / "tasks.safetensors")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/file-format.md").read_text("utf-8"), re.DOTALL)
    (decoder,) = (block for block in blocks if "def decode(" in block)
    (code,) = (block for block in blocks if "tasks.safetensors" in block)
    imports = re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)
    assert set(imports) == {"json", "math", "pathlib", "numpy"}
    names: dict[str, Any] = {}
    exec(decoder, names)
    exec(code, names)
    assert ("encoder.stages.0.0.mask" in names["task"]["coded"]) == (share != 0.5)
    network = bundle.network(names["task"]["name"])
    with torch.inference_mode():
        expected = network.get_submodule("encoder.stages.0.0")(2 * torch.from_numpy(names["picture"]) - 1)
    assert 0 < names["bits"].mean() < 1
    np.testing.assert_allclose(names["output"], expected.numpy(), atol=1e-4)


def test_a_method_that_needs_the_exact_base_is_not_rounded(stored_study: NewStudy) -> None:
    study = stored_study("coded")
    with pytest.raises(
        SettingsError, match=r"^coded needs the base network's weights in float32; leave out --dtype"
    ):
        bundle_study(study.settings, 0, "coded", dtype="float16")
    bundle = bundle_study(study.settings, 0, "coded")
    picture = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(bundle.network("shapes")(picture), study.stored("coded").network("shapes")(picture))


def test_a_task_without_integers_of_weights_is_bundled(stored_study: NewStudy) -> None:
    study = stored_study("coded", method_settings={"coded": {"covered": 0}})
    bundle_study(study.settings, 0, "coded").save(FILE)
    picture = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        expected = study.stored("coded").network("shapes")(picture)
        assert torch.equal(palimpsest.open(FILE).network("shapes")(picture), expected)


def test_the_page_describes_every_entry_of_the_header() -> None:
    page = (ROOT / "docs/file-format.md").read_text("utf-8")
    for model in (Header, TaskEntry):
        for name in model.model_fields:
            assert f"`{name}`" in page, name
    assert f"`{FORMAT}`" in page and all(f"`{name}`" in page for name in DATA_TYPES.values())


def test_classes_of_an_older_file_get_the_order_of_their_labels(bundled: Study) -> None:
    path = bundled.stored("piggyback").path("shapes")
    stored = load_task(path)
    job = json.loads(json.dumps(stored.provenance.settings, sort_keys=True))
    save_task(path, stored.components, replace(stored.provenance, settings=job))
    assert open_task(path).task().classes == ["background", "blue", "red"]
    bundle = bundle_study(bundled.settings, 0, "piggyback")
    assert bundle.task("shapes").classes == bundle.entry("shapes").classes == ["background", "red", "blue"]


def test_the_five_lines_of_the_readme_translate_a_picture(
    stored_study: NewStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = stored_study("piggyback")
    bundle_study(study.settings, 0, "piggyback").save(tmp_path / "tasks.safetensors")
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30), "teal").save("photo.jpg")
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 5
    exec(code.replace("style-gogh", "colour").replace("results/mini/bundle.safetensors", "tasks.safetensors"))
    assert Image.open("painted.png").size == (40, 30)


@pytest.mark.parametrize("how", ["sequential", "alternate"])
def test_residual_blocks_of_two_tasks_are_composed(stored_study: NewStudy, how: str) -> None:
    study = stored_study("resblock6")
    bundle = bundle_study(study.settings, 0, "resblock6")
    noise = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save("noise.png")
    translate = composed_translator(bundle, "colour", "shapes", how, 0.5, [Path("noise.png")], DEFAULT_LIMITS)
    first, second = (bundle.translator(name).predictor for name in ("colour", "shapes"))
    batch = {"picture": torch.from_numpy(noise).permute(2, 0, 1)[None]}
    with torch.inference_mode():
        expected = second.task.labels(UNBLENDED[how](first, second)(batch))[0]
    assert np.array_equal(np.asarray(translate(noise, Path("noise.png"))), expected)
