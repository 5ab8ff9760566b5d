from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from palimpsest.data.batches import TrainingBatches
from palimpsest.errors import DataError
from palimpsest.jobs import training_job
from palimpsest.methods import AUTOENCODER, BASE, METHODS
from palimpsest.storage.prediction_record import load_record
from palimpsest.storage.task_file import load_task
from palimpsest.training.task_training import passes, seed_of, starting_network

Study = Any
History = Sequence[dict[str, float]]


class Killed(BaseException):
    """End of the process, which no code catches."""


def killed_after(epochs: int) -> Callable[[History], None]:
    def on_epoch(history: History) -> None:
        if len(history) == epochs:
            raise Killed

    return on_epoch


def resume_files() -> list[Path]:
    return list(Path().rglob("*.resume"))


@pytest.mark.slow
@pytest.mark.parametrize("epochs", [1, 2, 3])
@pytest.mark.parametrize("method", [BASE, *METHODS])
def test_a_killed_training_resumes_and_ends_with_the_same_tensors(
    new_study: Callable[..., Study], method: str, epochs: int
) -> None:
    task = "shapes" if method in (BASE, "joint") else "halves"
    killed, undisturbed = new_study(), new_study()
    if method != BASE:
        for study in (killed, undisturbed):
            study.learn_all(method, until=task)
    expected = load_task(undisturbed.learn(method, task))
    with pytest.raises(Killed):
        killed.learn(method, task, killed_after(epochs))
    assert not killed.layout.stored(0, method, task).exists() and len(resume_files()) == 1
    epoch_counts: list[int] = []
    task_file = load_task(killed.learn(method, task, lambda history: epoch_counts.append(len(history))))
    assert task_file.sha256 == expected.sha256
    last = {"joint": 9, "scratch-long": 6}.get(method, 3)
    assert epoch_counts == [epochs, *range(epochs + 1, last + 1)]  # all earlier epochs at once, then each epoch
    losses = [
        [(entry["step"], entry["loss"]) for entry in study.histories[method, task]]
        for study in (killed, undisturbed)
    ]
    assert losses[0] == losses[1] and len(losses[0]) == last
    records = [load_record(study.layout.prediction_record(0, method, task)) for study in (killed, undisturbed)]
    assert records[0] == records[1]
    recorded = [(entry["step"], entry["loss"]) for entry in records[0].losses]
    assert recorded == ([] if method == "joint" else losses[0])  # those of joint are means over tasks
    assert all("images_per_second" not in entry for entry in records[0].losses)
    assert resume_files() == []


@pytest.mark.slow
def test_a_discriminator_resumes_from_the_checkpoint(new_study: Callable[..., Study]) -> None:
    checksums = []
    for epochs in ([], [1], [2]):
        study = new_study(tasks={"halves": {"loss": "adversarial"}})
        study.learn(BASE, "shapes")
        for number in epochs:
            with pytest.raises(Killed):
                study.learn("scratch", "halves", killed_after(number))
        checksums.append(load_task(study.learn("scratch", "halves")).sha256)
        history = study.histories["scratch", "halves"]
        assert all({"adversarial_loss", "l1_loss"} <= entry.keys() for entry in history)
    assert checksums[0] == checksums[1] == checksums[2]


@pytest.mark.slow
def test_a_training_killed_while_it_averages_scores_ends_with_the_same_mask(
    new_study: Callable[..., Study],
) -> None:
    mask = {"piggyback": {"score_lr_end": 0.9, "averaged": 0.8}}
    checksums = []
    for epochs in ([], [1], [2]):
        study = new_study(method_settings=mask, training={"batchnorm_frozen": 0.5})
        study.learn(BASE, "shapes")
        for number in epochs:
            with pytest.raises(Killed):
                study.learn("piggyback", "halves", killed_after(number))
        checksums.append(load_task(study.learn("piggyback", "halves")).sha256)
    assert checksums[0] == checksums[1] == checksums[2]


@pytest.mark.slow
def test_a_standardised_base_is_stored_with_standardised_filters_under_masks(
    new_study: Callable[..., Study],
) -> None:
    study = new_study(base={"standardised": True})
    with pytest.raises(Killed):
        study.learn(BASE, "shapes", killed_after(1))
    base = load_task(study.learn(BASE, "shapes"))
    undisturbed = new_study(base={"standardised": True})
    assert load_task(undisturbed.learn(BASE, "shapes")).sha256 == base.sha256
    filters = base.tensors()["encoder.stages.1.3.weight"]
    assert filters.mean(dim=(1, 2, 3)).abs().max() < 1e-6
    assert torch.allclose(filters.square().sum(dim=(1, 2, 3)), torch.ones(len(filters)), atol=1e-3)
    study.learn("piggyback", "halves")
    masked = study.stored("piggyback").network("halves").state_dict()["encoder.stages.1.3.weight"]
    assert torch.equal(masked, filters * (masked != 0))


@pytest.mark.slow
def test_a_repeatedly_killed_training_ends_with_the_same_tensors(new_study: Callable[..., Study]) -> None:
    killed, undisturbed = new_study(), new_study()
    for epochs in (1, 2, 3):
        with pytest.raises(Killed):
            killed.learn(BASE, "shapes", killed_after(epochs))
    assert load_task(killed.learn(BASE, "shapes")).sha256 == load_task(undisturbed.learn(BASE, "shapes")).sha256


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_the_same_training_gives_the_same_file(new_study: Callable[..., Study], precision: str) -> None:
    study = new_study(training={"precision": precision})
    files = []
    for _ in range(2):
        path = study.learn(BASE, "shapes")
        files.append(path.read_bytes())
        path.unlink()
        torch.manual_seed(99)  # any earlier random draws
        torch.rand(3)
    assert files[0] == files[1]


@pytest.mark.slow
def test_the_checkpoint_of_other_settings_is_ignored(new_study: Callable[..., Study]) -> None:
    study, undisturbed = new_study(), new_study()
    with pytest.raises(Killed):
        study.learn(BASE, "shapes", killed_after(2), key="other settings")
    task_file = load_task(study.learn(BASE, "shapes"))
    assert [entry["step"] for entry in study.histories[BASE, "shapes"]] == [2, 4, 6]
    assert task_file.sha256 == load_task(undisturbed.learn(BASE, "shapes")).sha256


@pytest.mark.slow
def test_a_damaged_checkpoint_is_ignored(new_study: Callable[..., Study]) -> None:
    study, undisturbed = new_study(), new_study()
    with pytest.raises(Killed):
        study.learn(BASE, "shapes", killed_after(2))
    (checkpoint,) = resume_files()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    task_file = load_task(study.learn(BASE, "shapes"))
    assert task_file.sha256 == load_task(undisturbed.learn(BASE, "shapes")).sha256


@pytest.mark.slow
def test_a_stored_task_contains_its_provenance(trained: Study) -> None:
    base = load_task(trained.layout.stored(0, BASE, "shapes"))
    assert base.provenance.network_sha256 is None
    assert (base.provenance.method, base.provenance.task, base.provenance.seed) == (BASE, "shapes", 0)
    for method in METHODS:
        provenance = trained.stored(method).open("colour").provenance
        assert (provenance.preset, provenance.method, provenance.task) == (
            trained.settings.preset,
            method,
            "colour",
        )
        assert provenance.settings == training_job(trained.settings, 0, method, "colour").model_dump(mode="json")
        below = load_task(trained.stored(method).task_files.base)
        assert provenance.network_sha256 == (below.sha256 if METHODS[method].adds_to_base else None)
        assert (below.sha256 == base.sha256) == (METHODS[method].base_training == BASE)


@pytest.mark.slow
def test_the_base_is_stored_once_and_no_method_changes_it(new_study: Callable[..., Study]) -> None:
    study = new_study()
    before = study.learn(BASE, "shapes").read_bytes()
    for method in METHODS:
        study.learn_all(method)
    assert study.layout.stored(0, BASE, "shapes").read_bytes() == before
    learners = {method for method, entry in METHODS.items() if entry.learns_base_task}
    folders = {path.parent.name for path in Path().rglob("shapes.safetensors")}
    assert folders == {BASE, AUTOENCODER, *learners}


def test_every_method_gets_the_same_pictures_in_the_same_order(new_study: Callable[..., Study]) -> None:
    study = new_study()
    jobs = {name: training_job(study.settings, 0, name, "halves") for name in METHODS}
    assert len({seed_of(job, "halves") for job in jobs.values()}) == 1
    trained = {name: next(task for task in job.tasks if task.name == "halves") for name, job in jobs.items()}
    first, *later = (
        [batch["picture"] for batch in passes(job, trained[name], study.prepared["halves"])]
        for name, job in jobs.items()
    )
    assert len(first) == 6
    assert [len(pictures) for pictures in later].count(6) == len(METHODS) - 2  # `scratch-long` goes on
    assert all(torch.equal(a, b) for pictures in later for a, b in zip(first, pictures, strict=False))


def test_passes_have_the_batches_of_the_training(new_study: Callable[..., Study]) -> None:
    study = new_study()
    job, prepared = training_job(study.settings, 0, "fine-tune", "halves"), study.prepared["halves"]
    trained_on = TrainingBatches(prepared, job.tasks[0].pictures, 4, 6, seed_of(job, "halves"))
    for step, batch in enumerate(passes(job, job.tasks[0], prepared)):
        assert torch.equal(batch["target"], trained_on[step]["target"])


def test_tasks_and_seeds_have_different_random_seeds(new_study: Callable[..., Study]) -> None:
    settings = new_study().settings
    trained = [(seed, task) for seed in range(20) for task in settings.sequence]
    seeds = {seed_of(training_job(settings, seed, BASE, task), task) for seed, task in trained}
    assert len(seeds) == 60 and all(0 <= seed < 2**32 for seed in seeds)


def started(study: Study, method: str, task: str) -> dict[str, torch.Tensor]:
    sequence = study.settings.sequence
    earlier = {name: study.settings.tasks[name] for name in sequence[: sequence.index(task)]}
    job = training_job(study.settings, 0, method, task)
    network = starting_network(job, study.stored(method), list(earlier), study.task(task))
    return {
        name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "before"),
    [("decoder", "base/shapes"), ("piggyback", "base/shapes"), ("fine-tune", "fine-tune/halves")],
)
def test_a_method_starts_from_the_network_of_the_table_with_a_new_head(
    trained: Study, method: str, before: str
) -> None:
    folder = trained.layout.stored(0, BASE, "shapes").parents[1]
    stored = load_task(folder / f"{before}.safetensors").tensors()
    start = started(trained, method, "colour")
    assert start["head.weight"].shape == (3, 2, 1, 1)
    assert not torch.equal(start["head.weight"][:2], stored["head.weight"][:2])
    trunk = [name for name in start if not name.startswith("head.")]
    assert len(trunk) == 22 + 4 * 18
    assert all(torch.equal(start[name], stored[name]) for name in trunk)


@pytest.mark.slow
def test_scratch_starts_from_the_random_weights_of_the_seed(trained: Study) -> None:
    base = trained.stored("scratch").open("shapes").tensors()
    torch.manual_seed(1)
    first = started(trained, "scratch", "colour")
    torch.manual_seed(1)
    second = started(trained, "scratch", "colour")
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], base[name]) for name in first if first[name].ndim == 4)


@pytest.mark.slow
def test_the_base_starts_from_the_weights_file_of_the_settings(
    new_study: Callable[..., Study], tmp_path: Path
) -> None:
    plain, named = new_study(), new_study(base={"encoder_weights": str(tmp_path / "nowhere.pth")})
    plain.learn(BASE, "shapes")
    with pytest.raises(DataError, match=r"nowhere\.pth"):
        named.learn(BASE, "shapes")
    for study in (plain, named):
        assert training_job(study.settings, 0, "scratch", "halves").base is None  # only the base network's training
