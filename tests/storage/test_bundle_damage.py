"""A damaged or forged bundle gives one clear line, and takes no more memory than its size explains."""

import json
import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import palimpsest
from palimpsest.bundle import number_of_values
from palimpsest.bundling import bundle_study
from palimpsest.errors import PalimpsestError, StorageError
from palimpsest.networks import build_network, network_settings
from palimpsest.storage.bundle_file import (
    FORMAT,
    Header,
    describe_parts,
    load_bundle,
    save_bundle,
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
    path = Path("forged.safetensors")
    save_bundle(path, Header.model_validate(content), parts)
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
    content["tasks"][1]["settings"]["kind"] = "os:system"


def missing_part(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["parts"] = ["tasks/other"]


def other_head(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["head_channels"] = 5


def coded_head(content: dict[str, Any], parts: Any) -> None:
    content["tasks"][1]["coded"] = {"head.weight": [3, 4]}


def huge_mask(content: dict[str, Any], parts: Any) -> None:
    part = parts["tasks/halves"]
    content["tasks"][1]["coded"] = {next(key for key in part if key.endswith(".mask")): [10**6]}


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
    ],
)
def test_a_forged_header_is_one_clear_line(bundled: Study, change: Any, message: str) -> None:
    path = forged(change)
    with pytest.raises(StorageError, match=rf"^forged\.safetensors: {message}"):
        palimpsest.open(path).network("halves")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": "palimpsest bundle 4"}, "has the newer format 'palimpsest bundle 4', expected .*; update"),
        ({"format": "palimpsest bundle 0"}, "has the format 'palimpsest bundle 0', expected 'palimpsest bundle 3'"),
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
