"""Estimate of a run: time of each job, files and downloads."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from palimpsest.data.generated_settings import GeneratedDatasetSettings
from palimpsest.download_note import Download, downloads
from palimpsest.jobs import TaskJob, TrainingJob, preparation_job
from palimpsest.planning.graph import Job
from palimpsest.planning.groups import job_of, measurement_key, training_key
from palimpsest.planning.pictures import Counts, counts_of, prepared_bytes
from palimpsest.planning.requests import (
    MeasurementRequest,
    MeasurementTime,
    Pictures,
    Request,
    Timed,
    TrainingRequest,
    TrainingTime,
)
from palimpsest.planning.schedule import makespan
from palimpsest.settings import Settings

START = 3.8
"""Seconds in which a process starts on the machine on which the following constants were measured. On other
machines, and beside other programs, the constants count in proportion to the start."""
DRAWN = 0.024
"""Seconds to draw one generated picture of 96 pixels."""
PREPARED = 0.002
"""Seconds to prepare one picture, generated or a photograph of COCO or VOC."""
RECORDING = 2.0
"""Seconds in which a training writes its files and its MLflow run."""
SHORT_JOBS = {"report": 1.5}
"""Seconds of other jobs beside the start of their process."""

DRAWN_BYTES = 1.1
"""Bytes of a generated picture with its annotations, per pixel of a square with its shorter side."""
UNPACKED = 2
"""Bytes of an archive and of its content, in bytes of the archive."""
TIME_LIMIT = 1.5
"""Factor between the estimated time of the longest job and the time limit of its rule."""


@dataclass(frozen=True)
class Training:
    """Training of a run."""

    rule: str
    seed: int
    method: str
    tasks: Sequence[str]
    steps: int
    finished: bool
    """True if its files exist and are up to date."""
    seconds: float
    """Estimated duration of the job; 0 for a finished one."""


@dataclass(frozen=True)
class Longest:
    """Longest job of a rule."""

    job: str
    seconds: float
    limit_minutes: int
    """Time limit for a cluster: `TIME_LIMIT` times the estimate, in full minutes."""


@dataclass(frozen=True)
class Disk:
    """Bytes that a run writes, without reports, logs and headers of files."""

    raw: int
    """Generated or downloaded data, archives included."""
    prepared: int
    """Prepared arrays."""
    models: int
    """Stored tasks; bits count as packed, also where their code is smaller."""
    checkpoints: int
    """Checkpoints of the trainings that run side by side; deleted after each training."""

    @property
    def total(self) -> int:
        """Bytes of all kinds."""
        return self.raw + self.prepared + self.models + self.checkpoints


@dataclass(frozen=True)
class Estimate:
    """Plan of a run."""

    preset: str
    cores: int
    """Cores that the run uses."""
    side_by_side: int
    """Trainings that run at the same time."""
    trainings: Sequence[Training]
    jobs: int
    """Jobs of all rules that the run starts."""
    seconds: float
    """Time of the run, without downloads."""
    job_seconds: float
    """Sum of the durations of all jobs."""
    longest: Mapping[str, Longest]
    """Longest job of each rule."""
    disk: Disk
    downloads: Sequence[Download]


@dataclass(frozen=True)
class Run:
    """Jobs of a run with the settings and the numbers of pictures that decide their time."""

    settings: Settings
    jobs: Sequence[Job]
    cores: int
    counts: Mapping[str, Counts]
    """Numbers of pictures by task."""

    @classmethod
    def of(cls, settings: Settings, jobs: Sequence[Job], cores: int) -> "Run":
        """Return a run; this reads the lists of the user's pictures, if there are any.

        Raises:
            DataError: the user's data set cannot be read.
        """
        pending = {job.wildcards["task"] for job in jobs if job.rule == "prepare" and job.pending}
        counts = {name: counts_of(settings, name, prepared=name not in pending) for name in settings.sequence}
        return cls(settings, jobs, cores, counts)

    @property
    def pending(self) -> list[Job]:
        """Jobs that the run starts."""
        return [job for job in self.jobs if job.pending]

    @property
    def side_by_side(self) -> int:
        """Number of trainings that can run at the same time."""
        trainings = [job for job in self.pending if job.trains]
        if any(job.gpus for job in trainings):
            return 1
        threads = max((min(job.threads, self.cores) for job in trainings), default=1)
        return max(1, min(self.cores // threads, len(trainings)))

    def pictures(self, task: str) -> Pictures:
        """Return the numbers of pictures that a training on a task reads."""
        return Pictures(self.counts[task].train, self.counts[task].val)

    def requests(self) -> dict[str, Request]:
        """Return one training or measurement of each group of equal cost, by the group's key."""
        requests: dict[str, Request] = {}
        pictures = {name: self.pictures(name) for name in self.settings.sequence}
        for job in self.pending:
            if job.trains:
                training = job_of(self.settings, job.wildcards)
                first = training.tasks[0].name
                request = TrainingRequest(self.settings, training.method, first, pictures)
                requests.setdefault(training_key(self.settings, training), request)
            for training, task, _ in self.measurements(job):
                key = self.measurement_key(training, task)
                requests.setdefault(key, MeasurementRequest(training, task.name, pictures[task.name]))
        return requests

    def measurement_key(self, job: TrainingJob, task: TaskJob) -> str:
        """Return the key of a measurement, with the number of pictures."""
        return f"{measurement_key(job, task)} {self.counts[task.name].val}"

    def measurements(self, job: Job) -> Iterator[tuple[TrainingJob, TaskJob, int]]:
        """Yield training, task and number of each measurement of a job."""
        if job.trains:
            training = job_of(self.settings, job.wildcards)
            yield from ((training, task, 1) for task in training.tasks)
        if job.rule not in ("evaluate", "floor"):
            return
        method = job.wildcards.get("method", self.settings.methods[0])
        for index, name in enumerate(self.settings.sequence):
            training = job_of(self.settings, {"method": method, "task": name, "seed": job.wildcards["seed"]})
            task = next(task for task in training.tasks if task.name == name)
            yield training, task, len(self.settings.sequence) - index if job.rule == "evaluate" else 1

    def duration(self, job: Job, times: Mapping[str, Timed], start: float) -> float:
        """Return the seconds of a job; ``start`` are those until a process has imported its modules."""
        fixed = SHORT_JOBS.get(job.rule, 0.0)
        if job.trains:
            fixed = RECORDING
        if job.rule == "prepare":
            fixed = PREPARED * self.counts[job.wildcards["task"]].total
        if job.rule == "raw":
            fixed = DRAWN * self.drawn(job.wildcards["dataset"])
        seconds = start * (1 + fixed / START)
        if job.trains:
            seconds += self.training_seconds(job_of(self.settings, job.wildcards), times)
        for training, task, number in self.measurements(job):
            timed = times[self.measurement_key(training, task)]
            assert isinstance(timed, MeasurementTime)
            seconds += number * (timed.plain if job.trains else timed.with_errors)
        return seconds

    def training_seconds(self, job: TrainingJob, times: Mapping[str, Timed]) -> float:
        """Return the seconds of a training without the start of its process and its measurement."""
        timed = times[training_key(self.settings, job)]
        assert isinstance(timed, TrainingTime)
        steps = sum(task.steps for task in job.tasks)
        epochs = math.ceil(steps / job.training.steps_per_epoch)
        return timed.rest + steps * timed.step + epochs * timed.epoch

    def drawn(self, dataset: str) -> int:
        """Return the number of pictures of a data set that are generated."""
        settings = self.settings.datasets[dataset]
        if not isinstance(settings, GeneratedDatasetSettings) or settings.source != "generated":
            return 0
        return sum(settings.generate.values())

    def trainings(self, times: Mapping[str, Timed], start: float) -> Iterator[Training]:
        """Yield the trainings, those of one method after the other."""
        for job in self.jobs:
            if job.trains:
                training = job_of(self.settings, job.wildcards)
                yield Training(
                    job.rule,
                    training.seed,
                    training.method,
                    training.task_names,
                    sum(task.steps for task in training.tasks),
                    not job.pending,
                    self.duration(job, times, start) if job.pending else 0.0,
                )

    def downloads(self) -> list[Download]:
        """Return the files that the run downloads."""
        names: dict[str, list[str]] = {"raw": [], "weights": [], "encoder": []}
        for job in self.pending:
            if job.rule in names:
                names[job.rule] += job.wildcards.values()
        return downloads(self.settings, *(sorted(values) for values in names.values()))

    def disk(self, times: Mapping[str, Timed]) -> Disk:
        """Return the bytes that the run writes."""
        models, checkpoints, prepared, raw = 0, [0], 0, 0
        for job in self.pending:
            if job.trains:
                timed = times[training_key(self.settings, job_of(self.settings, job.wildcards))]
                assert isinstance(timed, TrainingTime)
                models += timed.stored
                checkpoints.append(timed.checkpoint)
            if job.rule == "prepare":
                task = job.wildcards["task"]
                prepared += prepared_bytes(preparation_job(self.settings, task), self.counts[task].total)
            if job.rule == "raw" and (number := self.drawn(job.wildcards["dataset"])):
                dataset = self.settings.datasets[job.wildcards["dataset"]]
                assert isinstance(dataset, GeneratedDatasetSettings)
                raw += round(DRAWN_BYTES * number * dataset.side**2)
        raw += sum(UNPACKED * (download.bytes or 0) for download in self.downloads())
        return Disk(raw, prepared, models, sum(sorted(checkpoints)[-self.side_by_side :]))

    def estimate(self, times: Mapping[str, Timed], start: float, snakemake: float) -> Estimate:
        """Return the plan; ``start`` and ``snakemake`` are the seconds in which a job and Snakemake start."""
        pending = self.pending
        seconds = [self.duration(job, times, start) for job in pending]
        longest: dict[str, Longest] = {}
        for job, duration in zip(pending, seconds, strict=True):
            if job.rule not in longest or duration > longest[job.rule].seconds:
                name = " ".join(job.wildcards.get(key, "") for key in ("method", "task", "dataset")).split()
                limit = math.ceil(TIME_LIMIT * duration / 60)
                longest[job.rule] = Longest(" ".join(name), duration, limit)
        return Estimate(
            preset=self.settings.preset,
            cores=self.cores,
            side_by_side=self.side_by_side,
            trainings=list(self.trainings(times, start)),
            jobs=len(pending),
            seconds=snakemake + makespan(pending, seconds, self.cores) if pending else snakemake,
            job_seconds=sum(seconds),
            longest=longest,
            disk=self.disk(times),
            downloads=self.downloads(),
        )
