import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from palimpsest.analysis.forgetting import Cell, choose_device, measure_matrix, metric_rows
from palimpsest.analysis.measurement import Measurement, measure, metrics_line
from palimpsest.data.arrays import Prepared
from palimpsest.data.batches import evaluation_batches
from palimpsest.errors import DataError
from palimpsest.inference import Predictor
from palimpsest.jobs import evaluation_job
from palimpsest.methods import BASE, METHODS

Study = Any
CPU = torch.device("cpu")
FORGETS = {"fine-tune", "ewc", "lwf"}


def matrix(study: Study, method: str, samples: int = 1) -> dict[tuple[str, str], Measurement]:
    cells = list(measure_matrix(study.stored(method), study.tasks(), study.prepared, CPU, samples))
    measurements = {(cell.task, cell.after): cell.measurement for cell in cells}
    assert len(measurements) == len(cells)
    return measurements


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_task_is_measured_after_itself_and_after_every_later_task(trained: Study, method: str) -> None:
    measurements = matrix(trained, method)
    assert list(measurements) == [
        ("shapes", "shapes"),
        ("shapes", "halves"),
        ("halves", "halves"),
        ("shapes", "colour"),
        ("halves", "colour"),
        ("colour", "colour"),
    ]
    assert {measured.images for measured in measurements.values()} == {2}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_method_that_cannot_forget_gives_the_same_predictions_and_the_others_do_not(
    trained: Study, method: str
) -> None:
    measurements = matrix(trained, method)
    for task, times in (("shapes", 3), ("halves", 2)):
        cells = [measured for (name, _), measured in measurements.items() if name == task]
        assert len({cell.checksum for cell in cells}) == (times if method in FORGETS else 1)
        if method not in FORGETS:
            assert all(cell.metrics == cells[0].metrics for cell in cells)
    assert len({measurements[task, task].checksum for task in trained.settings.sequence}) == 3


@pytest.mark.slow
def test_every_cell_runs_the_network(trained: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures: list[int] = []
    run = Predictor.forward
    monkeypatch.setattr(Predictor, "forward", lambda self, b: pictures.append(len(b)) or run(self, b))
    matrix(trained, "piggyback")
    assert pictures == [2] * 6


@pytest.mark.slow
def test_measuring_twice_gives_the_same(trained: Study) -> None:
    first, second = matrix(trained, "decoder"), matrix(trained, "decoder")
    assert all(first[cell].checksum == second[cell].checksum for cell in first)
    assert all(first[cell].metrics == second[cell].metrics for cell in first)


def test_the_checksum_is_the_sha256_of_the_raw_predictions(new_study: Callable[..., Study]) -> None:
    study = new_study()
    study.store_untrained(BASE, "shapes")
    network, task = study.networks[BASE, "shapes"].eval(), study.task("shapes")
    measured = measure(Predictor(network, task).predict, task, study.prepared["shapes"], CPU, 1)
    (batch,) = evaluation_batches(study.prepared["shapes"], "val", 2)
    with torch.no_grad():
        scores = network((batch["picture"].float() / 255).contiguous(memory_format=torch.channels_last))
    content = np.ascontiguousarray(scores.numpy()).tobytes()
    assert len(content) == 2 * 3 * 32 * 32 * 4
    assert measured.checksum == hashlib.sha256(content).hexdigest()


def test_one_bit_of_one_prediction_changes_the_checksum(new_study: Callable[..., Study]) -> None:
    study = new_study()
    task, prepared = study.task("colour"), study.prepared["colour"]
    plain = measure(task.inputs, task, prepared, CPU, 1)

    def almost(batch: Any) -> torch.Tensor:
        answer = task.inputs(batch).clone()
        answer[-1, 2, 31, 31] = torch.nextafter(answer[-1, 2, 31, 31], torch.tensor(2.0))
        return answer

    assert measure(task.inputs, task, prepared, CPU, 1).checksum == plain.checksum
    assert measure(almost, task, prepared, CPU, 1).checksum != plain.checksum


def test_the_whole_validation_split_is_measured_at_any_batch_size(
    new_study: Callable[..., Study],
) -> None:
    random = np.random.default_rng(0)
    pictures = random.integers(0, 255, (40, 32, 32, 3), dtype=np.uint8)
    prepared = Prepared(pictures, None, ("",) * 40, ("train",) * 3 + ("val",) * 37, {})
    task = new_study().task("colour")
    measured = measure(lambda batch: batch["picture"] / 255, task, prepared, CPU, 20)
    assert measured.images == 37 and measured.metrics["mse"] == 0
    assert (
        measured.checksum
        == hashlib.sha256((pictures[3:].transpose(0, 3, 1, 2) / np.float32(255)).tobytes()).hexdigest()
    )
    assert len(measured.samples) == 20
    assert all(np.array_equal(a, b) for a, b in zip(measured.samples, pictures[3:], strict=False))


def test_a_label_without_class_names_the_task_and_the_remedy(new_study: Callable[..., Study]) -> None:
    study = new_study()
    task, prepared = study.task("shapes"), study.prepared["shapes"]
    damaged = replace(prepared, target=np.full_like(prepared.target, 200))
    scores = torch.zeros(len(prepared.rows("val")), len(task.classes), 32, 32)
    advice = "delete its folder of prepared arrays and run snakemake again"
    with pytest.raises(DataError, match=f"^task shapes: truth has labels 200 to 200, expected 0 to 2; {advice}$"):
        measure(lambda batch: scores[: len(batch["picture"])], task, damaged, CPU, 1)


def test_predictions_are_made_without_a_gradient(new_study: Callable[..., Study]) -> None:
    study = new_study()
    task = study.task("colour")
    enabled: list[bool] = []
    measure(
        lambda b: enabled.append(torch.is_grad_enabled()) or task.inputs(b), task, study.prepared["colour"], CPU, 1
    )
    assert enabled == [False]


def test_every_metric_of_every_cell_has_a_row() -> None:
    cells = [
        Cell("a", "a", Measurement({"miou": 50.0, "iou/cat": 40.0}, {"miou": 2.0}, 8, "x1", [])),
        Cell("a", "b", Measurement({"miou": 5.0}, {"miou": 1.0}, 8, "x2", [])),
    ]
    columns = ["task", "after", "metric", "value", "images", "checksum", "std_error"]
    rows = [
        ("a", "a", "miou", 50.0, 8, "x1", 2.0),
        ("a", "a", "iou/cat", 40.0, 8, "x1", None),
        ("a", "b", "miou", 5.0, 8, "x2", 1.0),
    ]
    assert metric_rows(cells) == [dict(zip(columns, row, strict=True)) for row in rows]


def test_the_log_omits_figures_of_single_classes() -> None:
    assert metrics_line({"miou": 50.0, "iou/cat": 40.0, "ssim": 0.91234}) == "miou 50  ssim 0.9123"


def test_the_device_and_the_threads_are_those_of_the_settings(new_study: Callable[..., Study]) -> None:
    threads = torch.get_num_threads()
    settings = new_study(training={"threads": 2}).settings
    try:
        assert choose_device(evaluation_job(settings, 0, "scratch")) == CPU
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
