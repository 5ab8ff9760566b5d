import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from palimpsest.errors import StorageError
from palimpsest.methods import BASE, METHODS
from palimpsest.storage.switcher import TaskSwitcher
from palimpsest.storage.task_file import content_sha256, load_task
from tests.storage.conftest import moved

Study = Any
NewStudy = Callable[..., Study]
PICTURES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def output(network: nn.Module) -> torch.Tensor:
    prediction = network.eval()(PICTURES)
    assert prediction[:, 0].std() > 0
    return prediction


@pytest.mark.parametrize("method", METHODS)
def test_a_loaded_task_has_the_output_of_the_stored_network(stored_study: NewStudy, method: str) -> None:
    study = stored_study(method)
    stored = study.stored(method)
    for name in study.settings.sequence:
        recalled = stored.network(name)
        assert not recalled.training
        learned = study.networks[stored.path(name).parent.name, name]
        assert torch.equal(output(recalled), output(learned)), name


@pytest.mark.parametrize("method", METHODS)
def test_loading_changes_no_file_and_no_tensor_of_the_base(stored_study: NewStudy, method: str) -> None:
    study = stored_study(method)
    stored = study.stored(method)
    files = {path: path.read_bytes() for path in Path().rglob("*.safetensors")}
    base = stored.open("shapes")
    for name in study.settings.sequence:
        network = stored.network(name)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()  # any change of a loaded network
    assert content_sha256(base.tensors()) == base.sha256
    assert {path: path.read_bytes() for path in files} == files and len(files) >= 3


@pytest.mark.parametrize("method", METHODS)
def test_switching_tasks_back_and_forth_gives_equal_outputs(stored_study: NewStudy, method: str) -> None:
    study = stored_study(method)
    stored = study.stored(method)
    first = {name: output(stored.network(name)) for name in ("shapes", "halves")}
    for _ in range(50):
        for name, expected in first.items():
            assert torch.equal(output(stored.network(name)), expected)


@pytest.mark.parametrize("method", METHODS)
def test_only_methods_with_shared_weights_change_their_output_after_a_later_task(
    stored_study: NewStudy, method: str
) -> None:
    study = stored_study(method)
    stored = study.stored(method)
    for name in ("shapes", "halves"):
        then = output(stored.network(name))
        later = output(stored.network(name, after="colour"))
        assert torch.equal(then, later) == (method not in ("fine-tune", "ewc", "lwf"))


def test_fine_tune_runs_an_earlier_task_on_later_weights_with_its_batchnorm_and_head(
    stored_study: NewStudy,
) -> None:
    study = stored_study("fine-tune")
    stored = study.stored("fine-tune")
    weights = stored.network("shapes", after="colour").state_dict()
    earlier, later = stored.open("shapes").tensors(), stored.open("colour").tensors()
    shared = {name for name in weights if ".up." in name or (weights[name].ndim == 4 and "head" not in name)}
    assert len(shared) == 22
    for name in weights:
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(weights[name], (later if name in shared else earlier)[name]), name
    assert not any(torch.equal(earlier[name], later[name]) for name in shared)


def test_the_first_task_is_the_base_network_unless_a_method_trains_it_further(new_study: NewStudy) -> None:
    study = new_study()
    paths = {study.stored(name).path("shapes") for name, entry in METHODS.items() if not entry.learns_base_task}
    assert paths == {study.layout.stored(0, BASE, "shapes"), study.layout.stored(0, "resblock6", "shapes")}
    assert study.stored("decoder").path("halves").parts[-2:] == ("decoder", "halves.safetensors")


@pytest.mark.parametrize(
    ("method", "needed"),
    [("scratch", []), ("decoder", ["shapes"]), ("piggyback", ["shapes"]), ("fine-tune", ["shapes", "halves"])],
)
def test_the_files_that_a_training_starts_from(new_study: NewStudy, method: str, needed: list[str]) -> None:
    stored = new_study().stored(method)
    assert stored.task_files.starting_files("colour") == [stored.path(name) for name in needed]


@pytest.mark.parametrize("method", ["decoder", "piggyback"])
def test_a_task_of_another_base_network_is_refused_with_both_checksums(stored_study: NewStudy, method: str) -> None:
    mine, foreign = stored_study(method), stored_study(method)
    foreign.store_untrained(BASE, "shapes", moved(77))
    theirs = foreign.stored(method)
    shutil.copy(mine.stored(method).path("halves"), theirs.path("halves"))
    expected, actual = (load_task(study.layout.stored(0, BASE, "shapes")).sha256[:12] for study in (mine, foreign))
    with pytest.raises(StorageError, match=rf"expected the base network {expected}…, found {actual}…"):
        theirs.network("halves")


@pytest.mark.parametrize("changes", [{"width": 3}, {"padding": "zeros"}])
def test_a_task_runs_on_its_network_after_the_settings_have_changed(
    new_study: NewStudy, changes: dict[str, object]
) -> None:
    then, now = new_study(), new_study(network=changes)
    then.store_untrained(BASE, "shapes", moved(1))
    path = now.layout.stored(0, BASE, "shapes")
    path.parent.mkdir(parents=True)
    shutil.copy(then.layout.stored(0, BASE, "shapes"), path)
    loaded = now.stored("scratch").network("shapes")
    assert torch.equal(output(loaded), output(then.networks[BASE, "shapes"]))


@pytest.mark.parametrize("changes", [{"width": 3}, {"padding": "zeros"}])
def test_shared_weights_of_another_network_are_refused_with_both_networks(
    new_study: NewStudy, changes: dict[str, object]
) -> None:
    mine, theirs = new_study(), new_study(network=changes)
    for study in (mine, theirs):
        study.store_untrained(BASE, "shapes")
        study.store_untrained("fine-tune", "halves")
    stored = mine.stored("fine-tune")
    shutil.copy(theirs.stored("fine-tune").path("halves"), stored.path("halves"))
    with pytest.raises(StorageError, match=r"halves\.safetensors: expected the network .*width=2.*, found"):
        stored.network("shapes", after="halves")


def test_a_task_with_another_number_of_classes_is_refused(new_study: NewStudy) -> None:
    study = new_study(tasks={"halves": {"classes": {"left": ["left"], "right": ["right"], "up": ["up"]}}})
    study.store_untrained(BASE, "shapes")
    four = study.task("halves")
    four.name = "shapes"
    with pytest.raises(
        StorageError, match=r"shapes\.safetensors: head.weight: expected 4 output channels, found 3; restore it"
    ):
        TaskSwitcher.of(study.stored("scratch"), [four])


def test_the_file_of_another_task_under_this_name_is_refused(new_study: NewStudy) -> None:
    study = new_study(
        tasks={"twin": {"kind": "colorization", "data": "drawn"}}, sequence=["shapes", "colour", "twin"]
    )
    study.store_untrained(BASE, "shapes")
    study.store_untrained("scratch", "colour")
    stored = study.stored("scratch")
    shutil.copy(stored.path("colour"), stored.path("twin"))
    with pytest.raises(
        StorageError, match=r"twin\.safetensors: expected scratch/twin of seed 0, found scratch/colour"
    ):
        stored.network("twin")


def test_a_missing_base_is_named(stored_study: NewStudy) -> None:
    study = stored_study("piggyback")
    study.layout.stored(0, BASE, "shapes").unlink()
    with pytest.raises(StorageError, match=r"base/shapes\.safetensors"):
        study.stored("piggyback").network("halves")


def test_a_rewritten_file_is_read_again(new_study: NewStudy) -> None:
    study = new_study()
    study.store_untrained(BASE, "shapes", moved(1))
    stored = study.stored("scratch")
    before = stored.open("shapes").sha256
    study.store_untrained(BASE, "shapes", moved(2))
    assert stored.open("shapes").sha256 == load_task(stored.path("shapes")).sha256 != before
