"""Reading of pictures of all common formats as uint8 RGB, and resizing of pictures and label maps.

The EXIF orientation of a picture is applied, as in a viewer, and its label map is turned likewise. Values of 16
bits are scaled by their full range, never clipped. An unreadable file raises a `DataError` that names the file.
"""

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
from PIL import ExifTags, Image, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from palimpsest.data.files import files_below
from palimpsest.data.grey import GreyScale, Scale
from palimpsest.errors import DataError
from palimpsest.machine import MAX_MEGAPIXELS

Pixels = NDArray[np.uint8]
PathLike = str | os.PathLike[str]
IGNORED = 255
"""Label of pixels that loss and metrics ignore."""

SUFFIXES = frozenset(
    {".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfi", ".jfif", ".jif", ".jp2", ".jpe", ".jpeg", ".jpg"}
    | {".mpo", ".pgm", ".png", ".pnm", ".ppm", ".tga", ".tif", ".tiff", ".webp"}
)
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "AVIF", "JPEG2000", "MPO")
"""Formats of files without suffix, by Pillow's names."""

Image.MAX_IMAGE_PIXELS = None
"""No limit by Pillow, which refuses 179 megapixels and more; `Limits` has the limit of this project."""
PngImagePlugin.MAX_TEXT_CHUNK = PngImagePlugin.MAX_TEXT_MEMORY
"""Higher limit for the text in a PNG than Pillow's 1 MiB, since graphics programs store their history there."""

REDUCTION = 1.75
"""Minimum of the shorter side, as a multiple of `size`, of a JPEG decoded at 1/2, 1/4 or 1/8 of its size. Pictures
of 64 to 128 px then differ from a full decode by 0.2 to 0.7 of 255 levels on average. Pictures of COCO of 480 px
are decoded at 240 px for a size of 128, in half the time."""

NOISE = 4
"""Maximum difference between the channels of a grey photograph that was saved as a colour JPEG."""

TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Operation that turns a stored picture as it is shown, by EXIF orientation (EXIF 2.32, tag 0x0112)."""


@dataclass(frozen=True)
class Record:
    """Picture that a split of a data set lists, with its target if the target is a file of its own."""

    source: str
    """Path of the picture relative to the folder of the data set, with forward slashes; `printable`."""

    picture: Path
    """File of the picture."""

    key: str
    """Key by which the reader finds labels or annotations of the picture; its form depends on the format."""

    fault: str | None = None
    """Reason why the picture cannot be used, as a duplicate id; it then counts as broken. None without a fault."""

    target: Path | None = None
    """File of the target; None if the target is no file of its own, or if there is none."""


@dataclass(frozen=True)
class Frame:
    """Size of a stored picture in pixels, and the EXIF orientation in which viewers show it."""

    width: int
    """Width in the file, before the orientation is applied."""
    height: int
    """Height in the file."""
    orientation: int = 1
    """EXIF orientation, 1 to 8; 1 is upright, and from 5 on width and height are exchanged."""

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
    """Limits on the files that are read as pictures."""

    megapixels: float = MAX_MEGAPIXELS
    key: str = "pictures.max_megapixels"
    """Setting or option of the limit, for messages; may be empty."""
    pipes: bool = False
    """True if a FIFO may be read, such as `<(command)` of a shell; otherwise only regular files are read."""

    def check_size(self, path: PathLike, width: int, height: int) -> None:
        """Check that a picture of ``width`` × ``height`` pixels is not too large.

        Raises:
            DataError: the picture is too large; the message names the file and the setting.
        """
        if width * height > self.megapixels * 1e6:
            raise DataError(
                f"{os.fspath(path)}: {width}×{height} pixels are {width * height / 1e6:.4g} megapixels, and the "
                f"limit is {self.megapixels:g}; scale the picture down{f' or raise {self.key}' if self.key else ''}"
            )


DEFAULT_LIMITS = Limits()
"""Limits of the default settings."""

ANY_SIZE = Limits(megapixels=math.inf)
"""Limits for headers, and for label maps of pictures that are checked."""


def list_pictures(folder: Path, unique: bool = True) -> list[Path]:
    """Return all pictures below ``folder``, sorted by path; with ``unique`` each real file once (`files_below`).

    Hidden files (``._name`` of macOS, ``.DS_Store``) and other files (``Thumbs.db``) are skipped.

    Raises:
        DataError: ``folder`` is not a folder, or a folder below it cannot be read.
    """
    return [path for path in files_below(folder, unique) if is_picture(path)]


def is_picture(path: Path) -> bool:
    """Return whether a file is a picture, by its suffix, or by its content if it has no suffix.

    A suffix does not start with a digit and has no space, so ``tour 2019.12`` has none. A number after a suffix, as
    in ``a.jpg.1``, marks a backup copy, which is no picture. A dangling link without a suffix counts as a picture;
    reading it reports the missing file.
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
    except Exception:  # Pillow's parsers raise many types of errors
        return path.is_symlink() and not path.exists()


def stem_of(path: Path) -> str:
    """Return a path as text with forward slashes, without its suffix if that is one of `SUFFIXES`."""
    return (path.with_suffix("") if path.suffix.lower() in SUFFIXES else path).as_posix()


def read_picture(path: PathLike, limits: Limits = DEFAULT_LIMITS) -> Pixels:
    """Return a picture file as uint8 (H, W, 3) RGB, as a viewer shows it.

    The EXIF orientation is applied. Grey becomes r = g = b; palette and CMYK are converted; transparent pixels are
    blended with white; 16 bits are scaled by their full range (65535 → 255).

    Raises:
        DataError: the file is missing, truncated, too large, no picture, or cannot be converted to RGB.
    """
    return read_shown(path, limits)[0]


def picture_pixels(picture: Image.Image, name: str, limits: Limits = DEFAULT_LIMITS) -> Pixels:
    """Return a picture of Pillow as uint8 (H, W, 3) RGB, converted as `read_picture` converts its file.

    ``name`` names the picture in errors.

    Raises:
        DataError: the picture is truncated, too large or empty, or cannot be converted to RGB.
    """
    limits.check_size(name, *picture.size)
    if 0 in picture.size:
        raise DataError(f"{name}: {picture.width}×{picture.height} pixels; use a picture with pixels")
    with faults_named(name), _unmapped(picture):
        return np.array(_shown(picture))


@contextmanager
def _unmapped(picture: Image.Image) -> Iterator[None]:
    """Run a block that loads a picture without mapping its file; see `opened` about TIFFs."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile):
        yield
        return
    filename, picture.filename = picture.filename, ""
    try:
        yield
    finally:
        picture.filename = filename


def read_shown(path: PathLike, limits: Limits = DEFAULT_LIMITS, scale: Scale | None = None) -> tuple[Pixels, Frame]:
    """Return a picture as `read_picture` does, uint8 (H, W, 3), with its frame.

    ``scale`` converts grey pictures of 16 bits and more; None for their full range.

    Raises:
        DataError: as `read_picture`.
    """
    with opened(path, limits) as picture:
        frame = _frame(picture)
        return np.array(_shown(picture, scale)), frame


def read_grey(path: PathLike, limits: Limits = DEFAULT_LIMITS) -> NDArray[Any]:
    """Return the stored numbers of a picture with one channel, (H, W) as shown; of a palette picture the indices.

    Raises:
        DataError: as `read_picture`, or the picture has several channels.
    """
    with opened(path, limits) as picture:
        if picture.mode not in ("1", "L", "P", "F") and not picture.mode.startswith("I"):
            raise ValueError(f"{picture.mode} has several numbers per pixel; save it as grey or palette picture")
        return _numbers(picture)


def read_scaled(path: PathLike, size: int, limits: Limits = DEFAULT_LIMITS) -> tuple[Pixels, Frame]:
    """Return the centred square of a picture, uint8 (size, size, 3), with the frame of the file.

    It nearly equals the result of `read_picture` and `resize_and_crop`, but is faster: large JPEGs are decoded at
    1/2, 1/4 or 1/8 of their size if the shorter side stays at least `REDUCTION` × ``size``.

    Raises:
        DataError: as `read_picture`.
    """
    with opened(path, limits) as picture:
        frame, smallest = _frame(picture), round(REDUCTION * size)
        drafted = picture.draft(None, (smallest, smallest))
        reduction = frame.width / drafted[1][2] if drafted else 1
        return _scaled(_shown(picture), frame.shown, reduction, size), frame


def read_frame(path: PathLike) -> Frame:
    """Return size and orientation of a picture file; the pixels are not decoded.

    Raises:
        DataError: the file is missing or no picture.
    """
    with opened(path) as picture:
        return _frame(picture)


def is_grey(picture: Pixels) -> bool:
    """Return whether the channels of uint8 (H, W, 3) differ by at most `NOISE`, the noise of a JPEG."""
    red, green, blue = picture[..., 0], picture[..., 1], picture[..., 2]
    largest = np.maximum(np.maximum(red, green), blue)
    smallest = np.minimum(np.minimum(red, green), blue)
    return bool((largest - smallest).max(initial=0) <= NOISE)


def resize_and_crop(array: NDArray[Any], size: int, labels: bool) -> NDArray[Any]:
    """Return the largest centred square of an array, resized: (H, W[, 3]) → (size, size[, 3]), same dtype.

    Pictures, uint8, are resized with an antialiased bicubic filter. With ``labels`` an array of any dtype is
    resized by nearest neighbour. Both ways cover exactly the same square.
    """
    height, width = array.shape[:2]
    if labels:
        top, left, side = _centre(height, width)
        steps = (np.arange(size) * 2 + 1) * side // (2 * size)
        return array[(top + steps)[:, None], (left + steps)[None, :]]
    return _scaled(Image.fromarray(np.ascontiguousarray(array)), (height, width), 1, size)


def turn_labels(labels: Pixels, frame: Frame, source: str) -> Pixels:
    """Return a label map (H, W) in the shown orientation of its picture, which has this frame.

    A map of the shown size is returned unchanged, even if the stored size is equal. A map of the stored size is
    turned.

    Raises:
        DataError: the map has another size than the picture; the message names ``source``.
    """
    if labels.shape == frame.shown:
        return labels
    if labels.shape == frame.stored:
        return np.array(_upright(Image.fromarray(labels), frame.orientation))
    raise DataError(
        f"{source}: the label map has {labels.shape[1]}×{labels.shape[0]} pixels, the picture has "
        f"{frame.shown[1]}×{frame.shown[0]}; export both in one size"
    )


@contextmanager
def opened(path: PathLike, limits: Limits = ANY_SIZE) -> Iterator[Image.Image]:
    """Yield a picture file, opened with Pillow but not decoded.

    Raises:
        DataError: the file is missing, too large or no picture, or the block raises any error except `MemoryError`;
            the message names the file.
    """
    with faults_named(os.fspath(path)):
        try:
            check_regular(path, limits)
            with (
                # From a path, Pillow would map grey, CMYK and 16-bit TIFFs turned by 90° with wrong rows.
                Path(path).open("rb") as file,
                Image.open(file) as picture,
            ):
                limits.check_size(path, *picture.size)
                yield picture
        except FileNotFoundError:
            link = f" (a link to {Path(path).readlink()})" if Path(path).is_symlink() else ""
            raise DataError(f"{os.fspath(path)}: no such file{link}; add it or correct the path") from None


@contextmanager
def faults_named(name: str) -> Iterator[None]:
    """Run a block that decodes a picture; errors name the picture.

    Pillow's warnings of damaged metadata are not shown: they name no file, and the pixels are not affected.

    Raises:
        DataError: the block raises any error except `MemoryError`; the message begins with ``name``.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):
            yield
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise DataError(f"{name}: not a picture of a known format; convert or remove it") from None
    except ValueError as error:  # of the block; its message contains the advice
        raise DataError(f"{name}: cannot be read: {error}") from error
    except Exception as error:  # Pillow's parsers raise many types of errors: SyntaxError, struct.error …
        raise DataError(f"{name}: cannot be read: {error}; replace or remove it") from error


def check_regular(path: PathLike, limits: Limits) -> None:
    """Check that a path is a regular file, and not a FIFO or a device; with ``limits.pipes`` every path passes.

    Raises:
        DataError: the path is not a regular file.
        OSError: the file does not exist.
    """
    if not limits.pipes and not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116
        raise DataError(f"{os.fspath(path)}: not a regular file; replace it by a picture or remove it")


def _frame(picture: Image.Image) -> Frame:
    """Return the frame of a picture that is open but not loaded."""
    orientation = _orientation(picture)
    width, height = picture.size
    if picture.format == "TIFF" and orientation >= 5:  # Pillow already reports the size after loading
        width, height = height, width
    return Frame(width, height, orientation)


def _orientation(picture: Image.Image) -> int:
    try:
        value = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged EXIF does not affect the pixels
        return 1
    return value if isinstance(value, int) and value in TRANSPOSED else 1


def _shown(picture: Image.Image, scale: Scale | None = None) -> Image.Image:
    """Return an open picture as RGB, as a viewer shows it.

    ``scale`` converts grey pictures of 16 bits and more; None for their full range.

    Raises:
        ValueError: as `GreyScale.to_eight_bits` and `GreyScale.refuse_eight_bits`.
    """
    scale = scale or GreyScale()
    if picture.mode == "F" or picture.mode.startswith("I"):
        return Image.fromarray(scale.to_eight_bits(_numbers(picture))).convert("RGB")
    scale.refuse_eight_bits(picture.mode)
    pixels = _rgb(picture)
    return _upright(pixels, _orientation(picture))


def _numbers(picture: Image.Image) -> NDArray[Any]:
    """Return the stored numbers (H, W) of an open picture with one channel, in the shown orientation."""
    values = np.asarray(picture)
    # Only now, since Pillow turns a TIFF and resets its orientation when the pixels are loaded.
    orientation = _orientation(picture)
    if orientation != 1:
        native = np.ascontiguousarray(values, values.dtype.newbyteorder("="))
        values = np.asarray(_upright(Image.fromarray(native), orientation))
    return values.view(np.uint32) if _has_unsigned_words(picture) else values


def _has_unsigned_words(picture: Image.Image) -> bool:
    """Return True for a TIFF with unsigned numbers of 32 bits, which Pillow reads as signed ones."""
    if not isinstance(picture, TiffImagePlugin.TiffImageFile) or picture.mode != "I":
        return False
    bits, form = (picture.tag_v2.get(tag) for tag in (TiffImagePlugin.BITSPERSAMPLE, TiffImagePlugin.SAMPLEFORMAT))
    return bits == (32,) and form in (None, (1,))  # TIFF 6.0: unsigned is the default


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    return picture.transpose(TRANSPOSED[orientation]) if orientation in TRANSPOSED else picture


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.has_transparency_data:
        rgba = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    picture.load()
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _centre(height: int, width: int) -> tuple[int, int, int]:
    side = min(height, width)
    return (height - side) // 2, (width - side) // 2, side


def _scaled(picture: Image.Image, shape: tuple[int, int], reduction: float, size: int) -> Pixels:
    """Return the centred square of a picture as uint8 (size, size, 3).

    ``shape`` is the size (height, width) that the picture had before it was decoded at 1 / ``reduction``.
    """
    top, left, side = _centre(*shape)
    if reduction == 1 and side == size:
        return np.array(picture.crop((left, top, left + size, top + size)))
    corners = (left / reduction, top / reduction, (left + side) / reduction, (top + side) / reduction)
    return np.array(picture.resize((size, size), Image.Resampling.BICUBIC, box=corners))
