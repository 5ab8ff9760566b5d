"""Plan of the small study before and after its run."""

import json
from typing import Any

import numpy as np
import pytest

from palimpsest.storage.task_file import load_task
from tests.pipeline.conftest import Study

pytestmark = pytest.mark.slow

METHODS, SEQUENCE = ["fine-tune", "piggyback"], ["coco-seg", "colorize"]
SMALLER = [f"methods={json.dumps(METHODS)}", f"sequence={json.dumps(SEQUENCE)}"]


def planned(study: Study, *config: str) -> Any:
    options = ["--config", *config] if config else []
    return json.loads(study.run("palimpsest", "plan", "--preset", "mini", "--json", *options).stdout)


def test_a_plan_has_the_trainings_and_bytes_of_the_run(finished: Study, unmade: Study) -> None:
    plan = planned(unmade, *SMALLER)
    trainings = {(training["method"], *training["tasks"]): training for training in plan["trainings"]}
    assert set(trainings) == {("base", "coco-seg"), *((method, "colorize") for method in METHODS)}
    assert {training["steps"] for training in trainings.values()} == {4}
    assert not any(training["finished"] for training in trainings.values())
    assert all(training["seconds"] > 0 for training in trainings.values())
    files = [finished.folder / f"models/mini/seed-0/{method}/{task}.safetensors" for method, task in trainings]
    assert plan["disk"]["models"] == sum(
        tensor.nbytes for file in files for part in load_task(file).components for tensor in part.tensors.values()
    )
    listed = 12 + 5 + 8 + 5  # of which a grey picture would be left out
    arrays = [path for task in SEQUENCE for path in (finished.folder / f"data/mini/prepared/{task}").glob("*.npy")]
    assert sum(len(np.load(path, mmap_mode="r")) for path in arrays if path.name == "picture.npy") == listed
    assert plan["disk"]["prepared"] == sum(np.load(path, mmap_mode="r").nbytes for path in arrays)
    assert plan["downloads"] == [] and plan["seconds"] > 0
    assert set(plan["longest"]) >= {"train", "train_base", "train_in_turn", "evaluate", "prepare"}
    assert not (unmade.folder / "models").exists() and not (unmade.folder / "data").exists()


def test_a_finished_run_and_a_second_seed(finished: Study) -> None:
    plan = planned(finished)
    assert plan["jobs"] == 0 and len(plan["trainings"]) == 28 and plan["disk"]["total"] == 0
    assert all(training["finished"] for training in plan["trainings"])
    more = planned(finished, 'methods=["piggyback"]', "seeds=[0, 1]")
    assert {(training["seed"], training["finished"]) for training in more["trainings"]} == {(0, True), (1, False)}
    assert len(more["trainings"]) == 10 and more["disk"]["prepared"] == 0
