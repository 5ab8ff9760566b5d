import hashlib
import json
import resource
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from palimpsest.errors import CodeError, StorageError
from palimpsest.methods.base import Component
from palimpsest.methods.masks import pack, unpack
from palimpsest.storage.task_file import (
    FORMAT,
    Provenance,
    TaskFile,
    content_sha256,
    load_task,
    metadata_sha256,
    save_task,
    serialised,
)

PROVENANCE = Provenance(
    preset="mini",
    seed=3,
    method="piggyback",
    task="voc-seg",
    settings={"network": {"width": 16}, "task": {"classes": {"café": ["dog"]}}},
    network_sha256="ab" * 32,
    encoder_sha256="cd" * 32,
)
COMPONENTS = (
    Component("mask", {"encoder.0": torch.tensor([129, 64], dtype=torch.uint8)}),
    Component("batchnorm", {"bn.weight": torch.linspace(0, 1, 5), "bn.bias": torch.zeros(5)}),
    Component("weights", {"up.weight": torch.arange(8.0).reshape(2, 1, 2, 2)}, shared=True),
    Component("fisher", {"fisher": torch.ones(1)}, needed_to="learn"),
)


def same(a: TaskFile, b: TaskFile) -> bool:
    """Return whether two files have equal content; their paths may differ."""
    facts_a, facts_b = ((replace(f.provenance, settings={}), f.provenance.settings, f.sha256) for f in (a, b))
    parts_a, parts_b = ([(c.name, c.shared, c.needed_to, sorted(c.tensors)) for c in f.components] for f in (a, b))
    return (facts_a, parts_a) == (facts_b, parts_b) and all(
        torch.equal(c.tensors[name], d.tensors[name])
        for c, d in zip(a.components, b.components, strict=True)
        for name in c.tensors
    )


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / "voc-seg.safetensors"
    save_task(path, COMPONENTS, PROVENANCE)
    return path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[TaskFile, bytes, Path]:
    """Return a task file, its bytes, and a path for damaged copies."""
    folder = tmp_path_factory.mktemp("whole")
    save_task(folder / "task.safetensors", COMPONENTS, PROVENANCE)
    content = (folder / "task.safetensors").read_bytes()
    return load_task(folder / "task.safetensors"), content, folder / "damaged.safetensors"


def test_saved_tasks_are_loaded(stored: Path) -> None:
    loaded = load_task(stored)
    assert loaded.provenance == PROVENANCE and loaded.path == stored
    assert [(c.name, c.shared, c.needed_to) for c in loaded.components] == [
        ("mask", False, "run"),
        ("batchnorm", False, "run"),
        ("weights", True, "run"),
        ("fisher", False, "learn"),
    ]
    for before, after in zip(COMPONENTS, loaded.components, strict=True):
        assert before.tensors.keys() == after.tensors.keys()
        assert all(torch.equal(before.tensors[name], after.tensors[name]) for name in before.tensors)


@pytest.mark.parametrize("version", [3, 4])
def test_a_file_of_a_format_before_is_loaded(version: int, stored: Path) -> None:
    before = load_task(stored)
    with safe_open(stored, framework="pt") as file:
        metadata = {**file.metadata(), "format": f"palimpsest task {version}"}
    del metadata["coded"]  # bits are packed
    metadata["metadata_sha256"] = metadata_sha256(metadata)
    stored.write_bytes(serialised(before.tensors() | dict(before.components[-1].tensors), metadata))
    assert load_task(stored).provenance == before.provenance


def test_a_task_of_coded_in_format_3_is_refused_by_version(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_task(path, COMPONENTS, replace(PROVENANCE, method="coded"))
    assert load_task(path).provenance.method == "coded"
    with safe_open(path, framework="pt") as file:
        metadata = {**file.metadata(), "format": "palimpsest task 3"}
    metadata["metadata_sha256"] = metadata_sha256(metadata)
    path.write_bytes(serialised(load_task(path).tensors(), metadata))
    message = r"a\.safetensors: a task of coded in the format 'palimpsest task 3' cannot be read; "
    with pytest.raises(StorageError, match=message):
        load_task(path)


def test_the_same_task_gives_the_same_bytes(tmp_path: Path) -> None:
    for number in range(6):
        save_task(tmp_path / str(number), COMPONENTS, PROVENANCE)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_tensors_for_training_alone_are_left_out(stored: Path) -> None:
    loaded = load_task(stored)
    assert set(loaded.tensors()) == {"encoder.0", "bn.weight", "bn.bias", "up.weight"}


def test_a_separate_network_needs_no_base(tmp_path: Path) -> None:
    save_task(tmp_path / "a", COMPONENTS, replace(PROVENANCE, network_sha256=None))
    assert load_task(tmp_path / "a").provenance.network_sha256 is None


def test_metadata_are_as_documented(stored: Path) -> None:
    content = stored.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__")
    assert header["encoder.0"]["dtype"] == "U8" and header["encoder.0"]["shape"] == [2]
    assert metadata["format"] == FORMAT == "palimpsest task 5"
    assert (metadata["preset"], metadata["seed"], metadata["method"], metadata["task"]) == (
        "mini",
        "3",
        "piggyback",
        "voc-seg",
    )
    assert json.loads(metadata["settings"]) == PROVENANCE.settings
    assert metadata["network_sha256"] == "ab" * 32
    assert metadata["encoder_sha256"] == "cd" * 32


def test_the_sha256_is_over_names_types_shapes_and_bytes() -> None:
    tensors = {"b": torch.tensor([1.0]), "a": torch.tensor([[1, 2]], dtype=torch.uint8)}
    by_hand = hashlib.sha256(b"a torch.uint8 (1, 2)\n\x01\x02b torch.float32 (1,)\n\x00\x00\x80\x3f")
    assert content_sha256(tensors) == by_hand.hexdigest()
    assert content_sha256(tensors) != content_sha256({**tensors, "a": torch.tensor([[1], [2]], dtype=torch.uint8)})


def test_the_sha256_does_not_depend_on_metadata_and_memory_format(tmp_path: Path) -> None:
    first = save_task(tmp_path / "a", COMPONENTS, PROVENANCE)
    second = save_task(tmp_path / "b", COMPONENTS[::-1], replace(PROVENANCE, task="other"))
    turned = torch.arange(8.0).reshape(2, 1, 2, 2).contiguous(memory_format=torch.channels_last)
    parts = [*COMPONENTS[:2], Component("weights", {"up.weight": turned}), COMPONENTS[3]]
    assert first == second == save_task(tmp_path / "c", parts, PROVENANCE) == load_task(tmp_path / "a").sha256


def test_two_components_with_equal_names_of_tensors_are_refused_and_no_file_is_written(tmp_path: Path) -> None:
    with pytest.raises(CodeError, match=r"components of the method .*; rename the tensor"):
        save_task(tmp_path / "a", [COMPONENTS[0], COMPONENTS[0]], PROVENANCE)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"nowhere\.safetensors: is missing; `snakemake"):
        load_task(tmp_path / "nowhere.safetensors")
    with pytest.raises(StorageError, match="not a complete safetensors file"):
        load_task(tmp_path)


def test_a_file_cut_anywhere_is_an_error(saved: tuple[TaskFile, bytes, Path]) -> None:
    _, content, damaged = saved
    for length in {*range(0, len(content), 13), *range(12), *range(len(content) - 12, len(content))}:
        damaged.write_bytes(content[:length])
        with pytest.raises(StorageError, match=r"damaged\.safetensors"):
            load_task(damaged)


@given(behind=st.binary(min_size=1, max_size=40))
def test_a_file_with_trailing_bytes_is_an_error(saved: tuple[TaskFile, bytes, Path], behind: bytes) -> None:
    _, content, damaged = saved
    damaged.write_bytes(content + behind)
    with pytest.raises(StorageError, match=r"damaged\.safetensors"):
        load_task(damaged)


@given(
    shapes=st.lists(st.lists(st.integers(0, 7), max_size=4), max_size=4), seed=st.integers(0, 2**31), data=st.data()
)
def test_masks_of_any_shape_load_bit_for_bit_and_never_altered(
    tmp_path: Path, shapes: list[list[int]], seed: int, data: st.DataObject
) -> None:
    random = torch.Generator().manual_seed(seed)
    masks = {f"layer.{index}": torch.rand(shape, generator=random) > 0.5 for index, shape in enumerate(shapes)}
    path = tmp_path / "task.safetensors"
    save_task(path, [Component("mask", {name: pack(mask) for name, mask in masks.items()})], PROVENANCE)
    loaded = load_task(path).tensors()
    assert loaded.keys() == masks.keys()
    assert all(torch.equal(unpack(loaded[name], mask.shape), mask) for name, mask in masks.items())
    content = path.read_bytes()
    if bits := sum(bits.numel() for bits in loaded.values()):
        index = data.draw(st.integers(1, bits))
        path.write_bytes(content[:-index] + bytes([content[-index] ^ 1]) + content[len(content) - index + 1 :])
        with pytest.raises(StorageError, match=r"task\.safetensors: the tensors were altered"):
            load_task(path)


@given(data=st.data())
@hypothesis_settings(max_examples=400)
def test_one_altered_byte_anywhere_is_an_error(saved: tuple[TaskFile, bytes, Path], data: st.DataObject) -> None:
    intact, content, damaged = saved
    position = data.draw(st.integers(0, len(content) - 1))
    altered = bytearray(content)
    altered[position] ^= data.draw(st.integers(1, 255))
    damaged.write_bytes(altered)
    try:
        loaded = load_task(damaged)
    except StorageError as error:
        assert "damaged.safetensors" in str(error)
    else:
        assert same(loaded, intact)  # for example, a space in the header became a tab


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"method":"piggyback"', b'"method":"fine-tune"'),
        (b'"task":"voc-seg"', b'"task":"voc-sag"'),
        (b'"seed":"3"', b'"seed":"4"'),
        (b'"network_sha256":"ab', b'"network_sha256":"aa'),
        (rb"\"width\": 16", rb"\"width\": 61"),
        (rb"\"needed_to\": \"learn\"", rb"\"needed_to\": \"later\""),
    ],
)
def test_altered_metadata_is_an_error(saved: tuple[TaskFile, bytes, Path], old: bytes, new: bytes) -> None:
    _, content, damaged = saved
    assert content.count(old) == 1
    damaged.write_bytes(content.replace(old, new))
    with pytest.raises(StorageError, match=r"altered|damaged"):
        load_task(damaged)


def test_an_altered_weight_is_refused_with_both_checksums(
    saved: tuple[TaskFile, bytes, Path],
) -> None:
    intact, content, damaged = saved
    damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StorageError, match=rf"expected SHA-256 {intact.sha256}, found [0-9a-f]{{64}}"):
        load_task(damaged)


@pytest.mark.parametrize("length", [3, 2**26, 2**60, 2**64 - 1])
def test_a_header_larger_than_the_file_is_an_error_and_allocates_no_memory(tmp_path: Path, length: int) -> None:
    (tmp_path / "a").write_bytes(struct.pack("<Q", length) + b"{}")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StorageError, match="not a complete safetensors file"):
        load_task(tmp_path / "a")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**14  # KiB


ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "U8", "BOOL", "F8_E4M3", "F4", "C64", "none"]),
        "shape": st.lists(st.sampled_from([0, 1, 2, 8, 2**40, 2**63, -1]), max_size=3),
        "data_offsets": st.tuples(st.sampled_from([0, 1]), st.sampled_from([0, 1, 4, 8, 2**62, -1])),
    }
)
METADATA = st.sampled_from([None, [], {}, {"format": "pt"}, {"format": FORMAT}, {"format": 1}])


@given(
    header=st.dictionaries(st.text(max_size=2), ENTRY, max_size=2), metadata=METADATA, body=st.binary(max_size=8)
)
def test_a_foreign_header_is_an_error(tmp_path: Path, header: dict[str, Any], metadata: Any, body: bytes) -> None:
    text = json.dumps(header if metadata is None else {**header, "__metadata__": metadata}).encode()
    (tmp_path / "foreign").write_bytes(struct.pack("<Q", len(text)) + text + body)
    with pytest.raises(StorageError, match=r"foreign: .*; restore it with `dvc pull`, or delete it"):
        load_task(tmp_path / "foreign")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "palimpsest task 9"}])
def test_a_file_of_another_format_is_refused_with_both_formats(
    tmp_path: Path, metadata: dict[str, str] | None
) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "a", metadata=metadata)
    actual = metadata["format"] if metadata else None
    with pytest.raises(StorageError, match=f"expected format 'palimpsest task 5', found {actual!r}"):
        load_task(tmp_path / "a")


@pytest.mark.parametrize("components", ["", "{", "3", '["a"]', '[{"name": "a"}]', "null"])
def test_an_invalid_list_of_components_is_an_error(tmp_path: Path, components: str) -> None:
    metadata = {"format": FORMAT, "sha256": content_sha256({"x": torch.zeros(1)}), "components": components}
    metadata |= {"preset": "a", "seed": "0", "method": "a", "task": "a", "settings": "{}", "network_sha256": ""}
    metadata["metadata_sha256"] = metadata_sha256(metadata)
    save_file({"x": torch.zeros(1)}, tmp_path / "a", metadata=metadata)
    with pytest.raises(StorageError, match="metadata"):
        load_task(tmp_path / "a")
