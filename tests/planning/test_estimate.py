"""Counts, sizes and times of a plan, from times that the tests set."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from palimpsest import cli
from palimpsest.cli.plan import lines
from palimpsest.jobs import training_job
from palimpsest.layout import Layout
from palimpsest.params import resolve
from palimpsest.planning.estimate import Estimate, Run
from palimpsest.planning.graph import Job, graph_of, reason_of
from palimpsest.planning.groups import training_key
from palimpsest.planning.requests import MeasurementTime, Request, Timed, TrainingRequest, TrainingTime
from palimpsest.planning.schedule import makespan
from palimpsest.settings import Settings

START, MIB = 3.8, 2**20


@pytest.fixture
def resolved(
    params_yaml: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Settings]:
    """Return a function that overrides the repository's settings, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda **over: resolve(params_yaml, over)


def made(rule: str, *, inputs: tuple[str, ...] = (), outputs: tuple[str, ...] = (), **wildcards: str) -> Job:
    return Job(rule, wildcards, inputs, outputs, threads=1, gpus=0, priority=0, pending=True)


def jobs_of(settings: Settings, *methods: str) -> list[Job]:
    """Return data sets, preparations, trainings of these methods, and their evaluations, without dependencies."""
    jobs = [made("raw", dataset=name) for name in settings.datasets]
    jobs += [made("prepare", task=task) for task in settings.sequence]
    jobs += [made("train_base", seed="0", method="base", task=settings.base_task)]
    jobs += [made("train", seed="0", method=m, task=task) for m in methods for task in settings.sequence[1:]]
    return jobs + [made("evaluate", seed="0", method=method) for method in methods]


def times_of(requests: Mapping[str, Request], step: float = 0.5) -> dict[str, Timed]:
    return {
        key: TrainingTime(step, 0.25, 2.0, 3 * MIB, 9 * MIB)
        if isinstance(request, TrainingRequest)
        else MeasurementTime(1.0, 1.5)
        for key, request in requests.items()
    }


def estimated(settings: Settings, *methods: str, step: float = 0.5, cores: int = 2) -> Estimate:
    run = Run.of(settings, jobs_of(settings, *methods), cores)
    return run.estimate(times_of(run.requests(), step), START, 5.0)


def test_trainings_are_counted_with_their_steps(resolved: Callable[..., Settings]) -> None:
    plan = estimated(resolved(preset="mini"), "piggyback", "scratch")
    assert [(t.method, t.tasks, t.steps) for t in plan.trainings if t.tasks[0] in ("coco-seg", "style-gogh")] == [
        ("base", ["coco-seg"], 400),
        ("piggyback", ["style-gogh"], 180),
        ("scratch", ["style-gogh"], 180),
    ]
    assert len(plan.trainings) == 9 and plan.jobs == 2 + 5 + 9 + 2
    assert sum(training.steps for training in plan.trainings) == 400 + 2 * (2 * 240 + 2 * 180)


def test_the_time_grows_in_proportion_to_the_steps(resolved: Callable[..., Settings]) -> None:
    def seconds(steps: int) -> float:
        settings = resolved(preset="mini", training={"steps": steps, "steps_per_epoch": 50}, base={"steps": steps})
        plan = estimated(settings, "scratch")
        return next(t.seconds for t in plan.trainings if (t.method, t.tasks[0]) == ("scratch", "voc-seg"))

    epochs = 0.25 / 50
    assert seconds(2000) - seconds(1000) == pytest.approx(1000 * (0.5 + epochs))
    assert seconds(100_000) - seconds(1000) == pytest.approx(99_000 * (0.5 + epochs))
    fixed = START * (1 + 2 / START) + 2.0 + 1.0  # process, records, start and end of the training, measurement
    assert seconds(1000) == pytest.approx(1000 * (0.5 + epochs) + fixed)


def test_an_evaluation_measures_every_cell(resolved: Callable[..., Settings]) -> None:
    plan = estimated(resolved(preset="mini"), "piggyback")
    assert plan.longest["evaluate"].seconds == pytest.approx(START + 15 * 1.5)
    assert plan.longest["evaluate"].job == "piggyback"


def test_the_longest_training_of_each_rule_has_a_time_limit(resolved: Callable[..., Settings]) -> None:
    plan = estimated(resolved(preset="mini"), "piggyback")
    base = plan.longest["train_base"]
    assert base.job == "base coco-seg"
    assert base.seconds == pytest.approx(400 * 0.5 + 8 * 0.25 + 2.0 + 1.0 + START + 2.0)
    assert base.limit_minutes == 6  # 1.5 × 210.8 s
    assert plan.longest["train"].seconds < base.seconds


def test_generated_pairs_take_space(resolved: Callable[..., Settings]) -> None:
    scenes, twenty = (estimated(resolved(preset=preset), "piggyback").disk.raw for preset in ("mini", "twenty"))
    assert twenty - scenes == 7 * round(1.1 * (440 + 80) * 96**2)


def test_bytes_follow_from_pictures_and_files(resolved: Callable[..., Settings]) -> None:
    disk = estimated(resolved(preset="mini"), "piggyback").disk
    segmentations = (660 + 80 + 550 + 80) * 64 * 64 * 4  # a byte of label per pixel
    pictures = 3 * (440 + 80) * 64 * 64 * 3
    assert disk.prepared == segmentations + pictures
    assert disk.models == 5 * 3 * MIB and disk.checkpoints == 2 * 9 * MIB
    assert disk.raw == sum(round(1.1 * number * 96**2) for number in (660 + 80 + 440, 550 + 80))
    assert disk.total == disk.prepared + disk.models + disk.checkpoints + disk.raw


@pytest.mark.parametrize(
    ("preset", "files", "pictures"),
    [
        (
            "real",
            {"val2017.zip": 816, "annotations_trainval2017.zip": 253, "VOCtrainval_11-May-2012.tar": 2000},
            3000,
        ),
        (
            "paper",
            {
                "train2017.zip": 19337,
                "val2017.zip": 816,
                "unlabeled2017.zip": 20127,
                "annotations_trainval2017.zip": 253,
                "VOCtrainval_11-May-2012.tar": 2000,
            },
            118287,
        ),
    ],
)
def test_downloads_are_listed_with_their_sizes(
    preset: str, files: dict[str, int], pictures: int, resolved: Callable[..., Settings]
) -> None:
    plan = estimated(resolved(preset=preset))
    assert {file.name: file.bytes for file in plan.downloads} == {n: size * 10**6 for n, size in files.items()}
    assert plan.disk.raw == 2 * 10**6 * sum(files.values())
    run = Run.of(resolved(preset=preset), jobs_of(resolved(preset=preset)), 2)
    counts = run.counts["coco-seg"]
    assert counts.train + counts.dev == pictures and counts.dev == round(pictures / 10)


def test_finished_trainings_cost_nothing(resolved: Callable[..., Settings]) -> None:
    settings = resolved(preset="mini", sequence=["coco-seg", "voc-seg"])
    finished = [Job(**{**vars(job), "pending": job.rule == "evaluate"}) for job in jobs_of(settings, "piggyback")]
    for task in settings.sequence:
        info = Layout("mini").prepared(task) / "info.json"
        info.parent.mkdir(parents=True)
        info.write_text(json.dumps({"splits": {"train": {"pictures": 9}, "val": {"pictures": 4}}}))
    run = Run.of(settings, finished, 2)
    assert (run.counts["voc-seg"].train, run.counts["voc-seg"].dev, run.counts["voc-seg"].val) == (9, 0, 4)
    assert not any(isinstance(request, TrainingRequest) for request in run.requests().values())
    plan = run.estimate(times_of(run.requests()), START, 5.0)
    assert all(training.finished and training.seconds == 0 for training in plan.trainings)
    assert plan.jobs == 1 and plan.disk.total == 0 and plan.downloads == []


def test_trainings_of_equal_cost_are_one_group(resolved: Callable[..., Settings]) -> None:
    def key(method: str, task: str, **over: Any) -> str:
        settings = resolved(preset="mini", methods="all", **over)
        return training_key(settings, training_job(settings, 0, method, task))

    assert key("scratch", "style-gogh") == key("scratch", "style-munch")  # another painting
    assert key("scratch", "voc-seg") == key("scratch", "voc-seg", training={"steps": 7, "learning_rate": 0.1})
    assert key("scratch", "voc-seg") != key("scratch", "colorize")
    assert key("scratch", "voc-seg") != key("decoder", "voc-seg")
    assert key("scratch", "voc-seg") != key("scratch", "voc-seg", training={"batch_size": 8})
    assert key("scratch", "voc-seg") != key("scratch", "voc-seg", network={"width": 8})
    fewer = {"voc-seg": {"loss": "l1"}}
    assert key("scratch", "voc-seg") != key("scratch", "voc-seg", tasks=fewer)
    assert key("lwf", "style-gogh") != key("lwf", "style-munch")  # one earlier task more
    grid = {"style-gogh": {"grid_weight": 0}}
    assert key("scratch", "style-gogh") != key("scratch", "style-gogh", tasks=grid)  # no such loss


def test_the_length_of_a_run() -> None:
    first, left, right = (
        made("train", outputs=("a",)),
        made("train", inputs=("a",), outputs=("b",)),
        made("train", inputs=("a",)),
    )
    last = made("collect", inputs=("b", "elsewhere"))
    jobs = [first, left, right, last]
    assert makespan(jobs, [10, 4, 6, 1], 2) == 16
    assert makespan(jobs, [10, 4, 6, 1], 1) == 21
    assert makespan([Job(**{**vars(job), "threads": 4}) for job in jobs], [10, 4, 6, 1], 2) == 21
    assert makespan([Job(**{**vars(job), "gpus": 1}) for job in jobs], [10, 4, 6, 1], 8) == 21
    urgent = Job(**{**vars(right), "priority": 1, "inputs": ()})
    assert makespan([first, left, urgent], [10, 4, 6], 1) == 20
    assert makespan([], [], 2) == 0


def test_the_plan_is_printed_as_a_table_or_json(
    resolved: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = estimated(resolved(preset="real"), "piggyback")
    Path("params.yaml").write_text("presets: { real: {} }", encoding="utf-8")
    monkeypatch.setattr("palimpsest.planning.plan.plan", lambda config, cores, progress: plan)
    assert cli.main(["plan", "--preset", "real"]) == 0
    captured = capsys.readouterr()
    table = captured.out.splitlines()
    assert captured.err == "" and table == list(lines(plan))
    assert table[0].split() == ["method", "trainings", "finished", "steps", "time"]
    steps = str(sum(training.steps for training in plan.trainings if training.method == "piggyback"))
    assert table[2].split()[:4] == ["piggyback", "4", "0", steps]
    assert any(line.startswith("downloads  3.1 GB: val2017.zip (816 MB), ") for line in table)
    assert cli.main(["plan", "--preset", "real", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["disk"]["total"] == plan.disk.total
    assert content["longest"]["train_base"]["limit_minutes"] == plan.longest["train_base"].limit_minutes
    assert content["trainings"][0]["method"] == "base" and content["cores"] == 2


def test_a_finished_run_has_nothing_to_do(resolved: Callable[..., Settings]) -> None:
    settings = resolved(preset="mini", sequence=["coco-seg"])
    plan = Run(settings, [], 2, {}).estimate({}, 0.0, 5.0)
    assert list(lines(plan))[-1] == "run        nothing to do: all outputs are up to date"


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (
            ["--preset", "tiny"],
            "params.yaml: is missing; run palimpsest in the folder with params.yaml and Snakefile",
            1,
        ),
        (["--preset", "tny"], "--preset: unknown value 'tny'; did you mean 'tiny'?", 2),
        (["--config", "real"], "--config: 'real' is not a setting; write KEY=VALUE, as preset=real", 2),
        (
            ["--cores", "0"],
            "invalid value for '--cores': Input should be greater than or equal to 1; see: palimpsest plan --help",
            2,
        ),
    ],
)
def test_wrong_use_gives_one_line(
    arguments: list[str],
    message: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if status == 2:
        Path("params.yaml").write_text("presets: { tiny: {} }", encoding="utf-8")
    assert cli.main(["plan", *arguments]) == status
    assert capsys.readouterr().err == f"error: {message}\n"


def test_the_reason_of_a_failure_is_that_of_the_snakefile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reason_of("Building\nerror: methods: unknown name 'x'\nlast") == "methods: unknown name 'x'"
    assert reason_of("") == "Snakefile: Snakemake cannot list its jobs (no message); run `snakemake -n all`"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=r"^Snakefile: is missing; run palimpsest in"):
        graph_of({}, 1)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(Exception, match=r"^Snakemake is missing; run: pip install 'palimpsest\[pipeline\]'"):
        graph_of({}, 1)
