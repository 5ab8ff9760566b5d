"""A damaged or forged bundle gives one clear line, and takes no more memory than its size explains."""

import functools
import hashlib
import json
import random
import resource
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import palimpsest
from palimpsest.bundle import Bundle, number_of_values
from palimpsest.bundling import bundle_study
from palimpsest.errors import PalimpsestError, StorageError
from palimpsest.methods import METHODS
from palimpsest.networks import build_network, network_settings
from palimpsest.storage.bundle_file import (
    FORMAT,
    describe_parts,
    load_bundle,
)
from palimpsest.storage.task_file import serialised
from tests.storage.conftest import FILE

Study = Any
NewStudy = Callable[..., Study]


def test_random_changes_of_bytes_are_one_clear_line(bundled: Study) -> None:
    whole = FILE.read_bytes()
    numbers = random.Random(0)
    damaged = Path("damaged.safetensors")
    for _ in range(200):
        content = bytearray(whole)
        for _ in range(numbers.choice([1, 1, 4])):
            index = numbers.choice([numbers.randrange(len(content)), numbers.randrange(2000)])
            content[index] ^= numbers.randrange(1, 256)
        damaged.write_bytes(content)
        assert_one_line(damaged)


def test_truncated_files_are_one_clear_line(bundled: Study) -> None:
    whole = FILE.read_bytes()
    damaged = Path("damaged.safetensors")
    for length in [0, 1, 8, 9, 100, 5000, *range(10000, len(whole), len(whole) // 40), len(whole) - 1]:
        damaged.write_bytes(whole[:length])
        assert_one_line(damaged)
    damaged.write_bytes(whole + b"\0")
    assert_one_line(damaged)


def assert_one_line(path: Path) -> None:
    with pytest.raises(PalimpsestError) as error:
        palimpsest.open(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and ";" in message


def forged(change: Callable[[dict[str, Any], dict[str, dict[str, Tensor]]], None]) -> Path:
    """Write a bundle whose header or parts were changed, with correct checksums; return its path."""
    file = load_bundle(FILE)
    content = json.loads(file.header.model_dump_json())
    parts = {name: dict(part) for name, part in file.parts.items()}
    change(content, parts)
    content["parts"] = {**content["parts"], **{n: p.model_dump() for n, p in describe_parts(parts).items()}}
    text = json.dumps(content).replace('"1e999"', "1e999")
    tensors = {f"{part}/{name}": tensor for part, of_part in parts.items() for name, tensor in of_part.items()}
    path = Path("forged.safetensors")
    metadata = {"format": FORMAT, "header": text, "sha256": hashlib.sha256(text.encode()).hexdigest()}
    path.write_bytes(serialised(tensors, metadata))
    return path


def wider(content: dict[str, Any], parts: Any) -> None:
    content["network"]["width"] = 4096


def of_another_network(content: dict[str, Any], parts: Any) -> None:
    content["network"]["name"] = "vnet"


def too_wide(content: dict[str, Any], parts: Any) -> None:
    content["network"]["width"] = 10**9


def another_base(content: dict[str, Any], parts: Any) -> None:
    parts["base"] = {name: tensor + 1 for name, tensor in parts["base"].items()}


def longer_mask(content: dict[str, Any], parts: Any) -> None:
    part = parts["tasks/halves"]
    key = next(key for key in part if key.endswith(".mask"))
    part[key] = torch.zeros(2 * len(part[key]), dtype=torch.uint8)


def missing_mask(content: dict[str, Any], parts: Any) -> None:
    part = parts["tasks/halves"]
    del part[next(key for key in part if key.endswith(".mask"))]


def twice(content: dict[str, Any], parts: Any) -> None:
    content["tasks"].append(content["tasks"][0])


def unknown_method(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["method"] = "os:system"


def unknown_kind(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["settings"]["kind"] = content["tasks"][1]["kind"] = "os:system"


def missing_part(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["parts"] = ["tasks/other"]


def other_head(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["head_channels"] = 5


def coded_head(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["coded"] = {"head.weight": [3, 4]}


def huge_mask(content: dict[str, Any], parts: Any) -> None:
    part = parts["tasks/halves"]
    content["tasks"][1]["coded"] = {next(key for key in part if key.endswith(".mask")): [10**6]}


def mask_of_integers(content: dict[str, Any], parts: Any) -> None:
    part = parts["tasks/halves"]
    key = next(key for key in part if key.endswith(".mask"))
    part[key] = part[key].to(torch.int64)


def head_of_bytes(content: dict[str, Any], parts: Any) -> None:
    parts["tasks/halves"]["head.bias"] = parts["tasks/halves"]["head.bias"].to(torch.uint8)


def without_number(content: dict[str, Any], parts: Any) -> None:
    parts["tasks/halves"]["head.bias"][0] = float("nan")


def another_kind(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["kind"] = "colorization"


def other_classes(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["classes"] = ["background", "green"]


def other_scale(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["working_scale"] = "own"


def fewer_colours(content: dict[str, Any], parts: Any) -> None:
    del content["tasks"][1]["palette"][0]


def impossible_colour(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["palette"][1] = [300, -5, 0]


def nested_settings(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["origin"]["settings"] = functools.reduce(lambda inner, _: {"a": inner}, range(100), {})


def unmeasured(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["quality"] = {"split": "val", "images": 1, "metrics": {"miou": float("nan")}}


def infinite(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["quality"] = {"split": "val", "images": 1, "metrics": {"miou": "1e999"}}


@pytest.mark.parametrize("method", ["piggyback", "resblock6"])
def test_a_header_that_claims_a_wide_network_takes_no_memory(stored_study: NewStudy, method: str) -> None:
    study = stored_study(method)
    bundle_study(study.settings, 0, method).save(FILE)
    path = forged(wider)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StorageError, match=r"the network of the header has \d+ values, the file has \d+"):
        palimpsest.open(path).network("halves")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**18  # KiB


@pytest.mark.parametrize("width", [16, 144])
@pytest.mark.parametrize("name", ["unet", "resblock"])
def test_networks_of_all_widths_open(name: str, width: int) -> None:
    settings = network_settings({"name": name, "width": width})
    network = build_network(settings, 3)
    expected = sum(tensor.numel() for tensor in network.state_dict().values())
    assert number_of_values(settings, 3) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (wider, r"the network of the header has \d+ values, the file has \d+"),
        (
            too_wide,
            r"stored with settings of another version \(network\.\S*: Input should be less than or equal to",
        ),
        (
            of_another_network,
            r"stored with settings of another version \(network.*unknown network 'vnet'; did you mean 'unet'",
        ),
        (another_base, r"the task 'halves' belongs to another base network: expected \w+…, found \w+…"),
        (longer_mask, r"layer 'decoder.up_blocks.0.stage.0': expected a mask of \d+ bytes, found \d+"),
        (missing_mask, r"tensor 'mask' of layer 'decoder.up_blocks.0.stage.0' is missing"),
        (coded_head, "the task 'halves': tensor 'head.weight': its code is missing"),
        (huge_mask, r"the task 'halves': tensor '\S+\.mask': the header has the impossible shape \[1000000\]"),
        (twice, "two tasks have the name 'shapes'"),
        (unknown_method, "the task 'halves' has the unknown method 'os:system'"),
        (unknown_kind, r"stored with settings of another version \(tasks\.0\.settings.*unknown kind 'os:system'"),
        (missing_part, "the part 'tasks/other' of the task 'halves' is missing"),
        (other_head, r"head\.weight: expected 5 output channels, found 2"),
        (mask_of_integers, r"layer '\S+': expected a mask of the type torch\.uint8, found torch\.int64"),
        (head_of_bytes, r"head\.bias: expected the type torch\.float32, found torch\.uint8"),
        (without_number, r"the tensor 'tasks/halves/head\.bias' has a value that is not finite"),
        (another_kind, r"the header is damaged \(tasks\.1: kind: 'colorization', but settings\.kind is 'segmen"),
        (other_classes, r"the task 'halves' has classes \['background', 'green'\], and its settings have \['back"),
        (other_scale, "the task 'halves' has working_scale 'own', and its settings have 'trained'"),
        (fewer_colours, r"the header is damaged \(tasks\.1: palette: 1 colours for 2 classes\)"),
        (impossible_colour, r"the header is damaged \(tasks\.1\.palette\.1\.0: Input should be less than or equal"),
        (nested_settings, r"the header is damaged \(more than 64 nested lists and objects\)"),
        (unmeasured, r"the header is damaged \(the number NaN is not finite\)"),
        (infinite, r"the header is damaged \(the number 1e999 is not finite\)"),
    ],
)
def test_a_forged_header_is_one_clear_line(bundled: Study, change: Any, message: str) -> None:
    path = forged(change)
    with pytest.raises(StorageError, match=rf"^forged\.safetensors: {message}"):
        palimpsest.open(path).translator("halves")


TYPES = (torch.float32, torch.uint8, torch.int8, torch.int64)


@pytest.mark.parametrize("method", METHODS)
def test_tensors_of_another_type_or_shape_are_one_clear_line(stored_study: NewStudy, method: str) -> None:
    study = stored_study(method)
    bundle = bundle_study(study.settings, 0, method)
    (part,) = (name for name in bundle.entry("halves").parts if name.startswith("tasks/"))
    kinds = {name.rpartition(".")[2]: name for name in bundle.file.parts[part]}
    for name in kinds.values():
        tensor = bundle.file.parts[part][name]
        others = [tensor.to(dtype) for dtype in TYPES if dtype != tensor.dtype]
        for other in [*others, tensor.flatten()[:0], tensor.flatten()[0], torch.stack([tensor, tensor])]:
            parts = {**bundle.file.parts, part: {**bundle.file.parts[part], name: other}}
            with suppress(StorageError):
                Bundle(replace(bundle.file, parts=parts)).network("halves")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "palimpsest bundle 4"}, "has the newer format 'palimpsest bundle 4', expected .*; update"),
        ({"format": "palimpsest bundle 0"}, "has the format 'palimpsest bundle 0', expected 'palimpsest bundle 3'"),
        (
            {"format": f"palimpsest bundle {'9' * 5000}"},
            "has the newer format 'palimpsest bundle 9{42}…', expected 'palimpsest bundle 3'; update",
        ),
        ({"format": "palimpsest task 5"}, "no bundle .*found 'palimpsest task 5'"),
        ({}, "no bundle"),
        ({"format": FORMAT, "header": "[" * 10**6, "sha256": ""}, "the header was altered"),
    ],
)
def test_another_format_is_refused(metadata: dict[str, str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(serialised({"base/x": torch.zeros(1)}, metadata))
    with pytest.raises(StorageError, match=message):
        palimpsest.open(path)


def test_a_tensor_that_the_header_lists_twice_is_refused(bundled: Study) -> None:
    content = FILE.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].rstrip()
    key = next(key for key in json.loads(header) if key.startswith("base/"))
    header = header[:-1] + b"," + json.dumps({key: json.loads(header)[key]}).encode()[1:]
    FILE.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    with pytest.raises(StorageError, match=f"duplicate key '{key}'"):
        palimpsest.open(FILE)
