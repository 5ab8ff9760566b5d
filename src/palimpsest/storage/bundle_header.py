"""Header of a bundle: everything that inference needs beside the tensors, as JSON in the file's metadata."""

import hashlib
import json
import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MAX_DEPTH = 64
"""Largest accepted number of nested lists and objects in the header."""


class HeaderModel(BaseModel):
    """Base class of the parts of the header; unknown keys, as of a later version of the program, are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=False)


class Part(HeaderModel):
    """Entry of one part of the tensors."""

    sha256: str
    """SHA-256 of the part, see `bundle_file.part_sha256`."""
    bytes: int
    """Size of the part's tensors."""


class Quality(HeaderModel):
    """Metrics of a task as its study measured them."""

    split: str
    images: int
    """Number of pictures."""
    metrics: dict[str, float]
    """Values by name, as in `metrics.csv`."""


class Origin(HeaderModel):
    """Origin of a task."""

    preset: str
    seed: int
    commit: str
    data_sha256: str
    encoder_sha256: str
    tensors_sha256: str
    """SHA-256 of the tensors in the file of the stored task, as `palimpsest inspect` prints it."""
    settings: dict[str, Any]
    """Settings of the training that inference does not need."""


Level = Annotated[int, Field(ge=0, le=255)]
"""Value of a colour's channel."""


class TaskEntry(HeaderModel):
    """Entry of one task: all that inference needs, beside the tensors."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*$")]
    kind: str
    settings: dict[str, Any]
    """Settings of the task, with its kind."""
    size: Annotated[int, Field(ge=1, le=2**16)]
    """Shorter side of the pictures in training, in pixels."""
    working_scale: Literal["trained", "own"]
    """Size at which the network runs: ``trained`` for pictures scaled to `size`, ``own`` for their own size."""
    head_channels: Annotated[int, Field(ge=1, le=2**16)]
    """Channels of the network's output."""
    classes: list[str] | None = None
    """Names of the classes in the order of their labels; None for a task without classes."""
    palette: list[tuple[Level, Level, Level]] | None = None
    """RGB colour of each class."""
    method: str
    method_settings: dict[str, Any] | None
    base_sha256: str | None
    """SHA-256 of the part ``base`` if the task's weights are computed from the base network's; None otherwise."""
    parts: list[str]
    """Parts whose tensors are the task's, beside the base network."""
    coded: dict[str, list[int]] = {}
    """Shapes of the tensors of bits in the task's own part that are stored as codes (`bit_code`), by name."""
    components: dict[str, int]
    """Bytes of the stored task by component, such as ``mask`` and ``head``."""
    quality: Quality | None = None
    origin: Origin

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.settings.get("kind") != self.kind:
            raise ValueError(f"kind: {self.kind!r}, but settings.kind is {self.settings.get('kind')!r}")
        if len(self.palette or ()) != len(self.classes or ()):
            raise ValueError(f"palette: {len(self.palette or ())} colours for {len(self.classes or ())} classes")
        return self


class Header(HeaderModel):
    """Description of a bundle: everything that inference needs beside the tensors."""

    version: str
    """Version of the program that wrote the file."""
    dtype: Literal["float32", "float16"]
    """Type of the weights of two and more dimensions. BatchNorm is float32, except in compact tasks, which store
    it in float16."""
    network: dict[str, Any]
    """Settings of the network, with its name."""
    input: dict[str, Any]
    """Pictures that the network expects: order of the channels and range of the values."""
    parts: dict[str, Part]
    tasks: list[TaskEntry]


def header_text(header: Header) -> str:
    """Return the JSON of a header, in the order of its entries, which for classes is that of their labels."""
    content = header.model_dump(mode="json")
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def header_sha256(header: Header) -> str:
    """Return the SHA-256 of a header's JSON, which is that of the whole bundle."""
    return hashlib.sha256(header_text(header).encode()).hexdigest()


def header_of(text: str) -> Header:
    """Return the header of a JSON text.

    Raises:
        ValueError: it is no JSON, has a key twice, a number that is not finite, more than `MAX_DEPTH` levels, or an
            entry that is missing or wrong.
        RecursionError: it has far more levels.
    """
    try:
        return Header.model_validate(parsed(text))
    except ValidationError as error:
        problem = error.errors()[0]
        key, message = ".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")
        raise ValueError(f"{key}: {message}") from error


def parsed(text: str) -> Any:
    """Return the content of a JSON text.

    Raises:
        ValueError: it is no JSON, has a key twice, a number that is not finite, or more than `MAX_DEPTH` levels.
        RecursionError: it has far more levels.
    """
    content = json.loads(
        text, object_pairs_hook=unique_keys, parse_constant=finite_number, parse_float=finite_number
    )
    level, depth = [content], 0
    while level:
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} nested lists and objects")
        nested = [value for value in level if isinstance(value, dict | list)]
        level = [child for value in nested for child in (value.values() if isinstance(value, dict) else value)]
        depth += 1
    return content


def finite_number(text: str) -> float:
    """Return a number of a JSON text.

    Raises:
        ValueError: it is NaN, infinite or too large.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text} is not finite")
    return number


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dictionary.

    Raises:
        ValueError: two pairs have the same key.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        duplicate = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate key {duplicate!r}")
    return content
