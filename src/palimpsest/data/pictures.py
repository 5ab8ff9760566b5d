"""Reading pictures of any common kind as uint8 RGB, and bringing them and their label maps to one size.

Three rules hold everywhere. A picture is read as a viewer shows it: its EXIF orientation is applied, and
label maps follow it. Sixteen bits are scaled by their full range, never clipped. What cannot be read ends in
a `DataError` that names the file.
"""

import io
import math
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError

from palimpsest.data.files import files_below
from palimpsest.data.grey import GreyScale, Scale
from palimpsest.errors import DataError
from palimpsest.machine import MAX_MEGAPIXELS
from palimpsest.storage.atomic import write_bytes

Pixels = NDArray[np.uint8]
PathLike = str | os.PathLike[str]
IGNORED = 255
"""The label of pixels that take no part in loss and metrics."""

SUFFIXES = frozenset(
    {".apng", ".bmp", ".dib", ".gif", ".jfi", ".jfif", ".jif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm"}
    | {".ppm", ".tif", ".tiff", ".webp"}
)
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
"""Formats of files without suffix, by Pillow's names."""

Image.MAX_IMAGE_PIXELS = None
"""Pillow refuses pictures of 179 megapixels and more as an attack; `Limits` has the project's own bound."""
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
"""Pillow refuses a PNG with more than 1 MiB of text, which programs of graphics write as the picture's history."""

REDUCTION = 1.75
"""Smallest multiple of `size` that the shorter side keeps when a JPEG is decoded at 1/2, 1/4 or 1/8 of its size.
Pictures of 64 to 128 px then differ from a full decode by 0.2 to 0.7 of 255 levels in the mean; COCO's of 480 px
come down to 128 by way of 240, in half the time."""

NOISE = 4
"""The largest difference between the channels of a grey photograph that was saved as a colour JPEG."""

TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Operation that turns a stored picture to the way it is shown, by EXIF orientation (EXIF 2.32, tag 0x0112)."""


@dataclass(frozen=True)
class Record:
    """One photograph of a data set's split."""

    source: str
    """File name relative to the data set's folder, with forward slashes, and `printable`."""

    picture: Path

    key: str
    """The name by which the data set finds the annotations."""

    fault: str | None = None
    """Reason why it cannot be used, from the data set's index alone; such a record counts as broken."""

    target: Path | None = None
    """The file of the target, where the record is a pair of two files."""


@dataclass(frozen=True)
class Frame:
    """Width and height of a stored picture in pixels, before its EXIF orientation is applied."""

    width: int
    height: int
    orientation: int = 1

    @property
    def stored(self) -> tuple[int, int]:
        """(height, width) in the file."""
        return self.height, self.width

    @property
    def shown(self) -> tuple[int, int]:
        """(height, width) after the EXIF orientation, as `read_picture` returns the picture."""
        return (self.width, self.height) if self.orientation >= 5 else (self.height, self.width)


@dataclass(frozen=True)
class Limits:
    """Files that are read as pictures."""

    megapixels: float = MAX_MEGAPIXELS
    key: str = "pictures.max_megapixels"
    """The setting or option that raises the number; none where it is empty."""
    pipes: bool = False
    """A FIFO, as a shell's `<(command)` is one, is waited for; otherwise only regular files are read."""

    def check(self, path: PathLike, width: int, height: int) -> None:
        """Refuse a picture that is too large.

        Raises:
            DataError: names the file, its size and the setting.
        """
        if width * height > self.megapixels * 1e6:
            raise DataError(
                f"{os.fspath(path)}: {width}×{height} pixels are {width * height / 1e6:.4g} megapixels, and "
                f"{self.megapixels:g} may be; scale the picture down{f' or raise {self.key}' if self.key else ''}"
            )


USUAL = Limits()

ANY_SIZE = Limits(megapixels=math.inf)
"""For headers, and for label maps, whose photograph has been checked."""


def list_pictures(folder: Path, once: bool = True) -> list[Path]:
    """Return all picture files below ``folder``, sorted by path; with ``once`` each real file once (`files_below`).

    Hidden files (``._name`` of macOS, ``.DS_Store``) and what is no picture (``Thumbs.db``) are passed over.

    Raises:
        DataError: ``folder`` is not a folder, or a folder below it cannot be read.
    """
    return [path for path in files_below(folder, once) if is_picture(path)]


def is_picture(path: Path) -> bool:
    """Return whether a file is meant as a picture: by its suffix or, where it has none, by its content.

    What follows the last dot is no suffix where it starts with a digit or has a space, as in ``tour 2019.12``. A
    number behind a suffix, as in ``a.jpg.1``, marks a copy that a program has set aside. A link to nothing without
    a suffix is a missing picture.
    """
    stem, suffix = os.path.splitext(path.name)  # noqa: PTH122 (10 times faster)
    if path.name.startswith("."):
        return False
    if suffix.lower() in SUFFIXES:
        return True
    if re.fullmatch(r"\.[^\W\d_]\S*", suffix) or stem_of(Path(stem)) != stem:
        return False
    try:
        with Image.open(path, formats=FORMATS):
            return True
    except Exception:  # Pillow's parsers raise whatever they run into
        return path.is_symlink() and not path.exists()


def stem_of(path: Path) -> str:
    """Return a path without the suffix of a picture format, with forward slashes."""
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).as_posix()


def read_picture(path: PathLike, limits: Limits = USUAL) -> Pixels:
    """Read a picture file as uint8 (H, W, 3) RGB, the way a viewer shows it.

    EXIF orientation applied; grey becomes r = g = b; palette and CMYK converted; transparency over white; 16
    bits scaled by their full range (65535 → 255).

    Raises:
        DataError: the file is missing, truncated, too large, no picture, or of a kind that has no one meaning as
            RGB.
    """
    return read_shown(path, limits)[0]


def read_shown(path: PathLike, limits: Limits = USUAL, scale: Scale | None = None) -> tuple[Pixels, Frame]:
    """Read a picture as `read_picture` does, 16 bits by ``scale`` where one is given, and the frame of its file.

    Raises:
        DataError: as `read_picture`.
    """
    with opened(path, limits) as picture:
        frame = _frame(picture)
        return np.array(_shown(picture, scale)), frame


def read_grey(path: PathLike, limits: Limits = USUAL) -> NDArray[Any]:
    """Read the stored numbers of a picture of one channel: (H, W), of a palette the indices of its colours.

    Raises:
        DataError: as `read_picture`, or the picture has colours.
    """
    with opened(path, limits) as picture:
        if picture.mode not in ("1", "L", "P", "F") and not picture.mode.startswith("I"):
            raise ValueError(f"{picture.mode} has several numbers a pixel; save it as grey or palette picture")
        return _numbers(picture)


def read_scaled(path: PathLike, size: int, limits: Limits = USUAL) -> tuple[Pixels, Frame]:
    """Read a picture at its final size: `read_picture` and `resize_and_crop` in one, and quicker.

    Returns uint8 (size, size, 3) and the file's frame. Large JPEGs are decoded at 1/2, 1/4 or 1/8 of their size
    where that is at least `REDUCTION` × ``size``.

    Raises:
        DataError: as `read_picture`.
    """
    with opened(path, limits) as picture:
        frame, least = _frame(picture), round(REDUCTION * size)
        drafted = picture.draft(None, (least, least))
        reduction = frame.width / drafted[1][2] if drafted else 1
        return _scaled(_shown(picture), frame.shown, reduction, size), frame


def read_frame(path: PathLike) -> Frame:
    """Read size and orientation of a picture file, from the header alone where the format allows it.

    Raises:
        DataError: the file is missing or no picture.
    """
    with opened(path) as picture:
        return _frame(picture)


def is_grey(picture: Pixels) -> bool:
    """Return whether no pixel of uint8 (H, W, 3) is more colourful than the noise of a JPEG, `NOISE` levels."""
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    largest = np.maximum(np.maximum(red, green), blue)
    smallest = np.minimum(np.minimum(red, green), blue)
    return bool((largest - smallest).max(initial=0) <= NOISE)


def resize_and_crop(array: NDArray[Any], size: int, labels: bool) -> NDArray[Any]:
    """Return the centred square at another size: uint8 (H, W[, 3]) → (size, size[, 3]).

    The side of the square is the shorter side of the picture. Pictures are resized with an
    antialiased bicubic filter, label maps, and arrays of any dtype that are treated as such, take the nearest
    pixel; both cover exactly the same square.
    """
    height, width = array.shape[:2]
    if labels:
        top, left, side = _centre(height, width)
        steps = (np.arange(size) * 2 + 1) * side // (2 * size)
        return array[(top + steps)[:, None], (left + steps)[None, :]]
    return _scaled(Image.fromarray(np.ascontiguousarray(array)), (height, width), 1, size)


def turn_labels(labels: Pixels, frame: Frame, source: str) -> Pixels:
    """Return a label map (H, W) the way its picture is shown.

    A map of the shown size is taken as drawn on the shown picture, and one of the stored size as drawn on the
    stored pixels, hence turned with them. Where both sizes are equal, the map was drawn on what was shown.

    Raises:
        DataError: the map has another size than the picture; names ``source``.
    """
    if labels.shape == frame.shown:
        return labels
    if labels.shape == frame.stored:
        return np.array(_upright(Image.fromarray(labels), frame.orientation))
    raise DataError(
        f"{source}: the labels are {labels.shape[1]}×{labels.shape[0]} pixels, "
        f"the picture is {frame.shown[1]}×{frame.shown[0]}"
    )


@contextmanager
def opened(path: PathLike, limits: Limits = ANY_SIZE) -> Iterator[Image.Image]:
    """Open a picture file by Pillow; whatever goes wrong becomes a `DataError` that names the file.

    Warnings of damaged metadata, which name no file and of which nothing follows, are not shown.
    """
    name = os.fspath(path)
    try:
        check_regular(path, limits)
        with (
            warnings.catch_warnings(action="ignore", category=UserWarning),
            # Given the path, Pillow would map grey, CMYK and 16-bit TIFFs that lie on their side in wrong rows.
            Path(path).open("rb") as file,
            Image.open(file) as picture,
        ):
            limits.check(path, *picture.size)
            yield picture
    except FileNotFoundError:
        link = f"; it is a link to {Path(path).readlink()}" if Path(path).is_symlink() else ""
        raise DataError(f"{name}: no such file{link}") from None
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a picture, or of an unknown format") from None
    except Exception as error:  # Pillow's parsers raise whatever they run into: SyntaxError, struct.error …
        raise DataError(f"{name}: cannot be read: {error}") from error


def check_regular(path: PathLike, limits: Limits) -> None:
    """Refuse what is no regular file, as a FIFO, unless it may be one.

    Raises:
        DataError: names the path.
        OSError: there is no such file.
    """
    if not limits.pipes and not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
        raise DataError(f"{os.fspath(path)}: no regular file; put a picture file in its place or remove it")


def _frame(picture: Image.Image) -> Frame:
    """Return the frame of a picture that is opened and not loaded yet."""
    orientation = _orientation(picture)
    width, height = picture.size
    if picture.format == "TIFF" and orientation >= 5:  # Pillow says here how large it will be when it is loaded
        width, height = height, width
    return Frame(width, height, orientation)


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF says nothing about the pixels, which are read all the same
        return 1
    return value if isinstance(value, int) and value in TRANSPOSED else 1


def _shown(picture: Image.Image, scale: Scale | None = None) -> Image.Image:
    """Return an opened picture as RGB, the way a viewer shows it."""
    scale = scale or GreyScale()
    if picture.mode == "F" or picture.mode.startswith("I"):
        return Image.fromarray(scale.eight_bits(_numbers(picture))).convert("RGB")
    scale.refuse_eight_bits(picture.mode)
    pixels = _rgb(picture)
    return _upright(pixels, _orientation(picture))


def _numbers(picture: Image.Image) -> NDArray[Any]:
    """Return the stored numbers (H, W) of an opened picture of one channel, turned the way it is shown."""
    values = np.asarray(picture)
    # Asked after the pixels are loaded: Pillow turns a TIFF itself then, and has it forget its orientation.
    orientation = _orientation(picture)
    if orientation != 1:
        native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        values = np.asarray(_upright(Image.fromarray(native), orientation))
    return values


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    return picture.transpose(TRANSPOSED[orientation]) if orientation in TRANSPOSED else picture


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", seen.size, "white"), seen).convert("RGB")
    picture.load()
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _centre(height: int, width: int) -> tuple[int, int, int]:
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def _scaled(picture: Image.Image, shape: tuple[int, int], reduction: float, size: int) -> Pixels:
    """Return the centred square of a picture that has ``shape`` (height, width) before its ``reduction``."""
    top, left, side = _centre(*shape)
    if reduction == 1 and side == size:
        return np.array(picture.crop((left, top, left + size, top + size)))
    corners = (left / reduction, top / reduction, (left + side) / reduction, (top + side) / reduction)
    return np.array(picture.resize((size, size), Image.Resampling.BICUBIC, box=corners))


def write_picture(path: Path, picture: Pixels) -> None:
    """Write uint8 (H, W, 3) in the format of the file's suffix, whole or not at all; folders are made."""
    write_bytes(path, encoded(Image.fromarray(picture), path.suffix))


def encoded(picture: Image.Image, suffix: str, **options: Any) -> memoryview:
    """Return the content of a picture file; ``options`` are those of the format.

    Made in memory, since Pillow's encoders, where they write to a full disk themselves, do not say so.
    """
    content = io.BytesIO()
    picture.save(content, Image.registered_extensions()[suffix.lower()], **options)
    return content.getbuffer()
