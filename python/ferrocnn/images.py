"""From a folder of photographs to arrays: :func:`load_images` and :class:`ImageDataset`."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from ferrocnn.cache import PictureCache, Pictures
from ferrocnn.checks import check_fraction, check_int
from ferrocnn.decoding import Decoder, decoders_for
from ferrocnn.folders import SkippedFile, read_layout
from ferrocnn.pillow import quiet_pillow
from ferrocnn.preprocessing import Preprocessing, resize

__all__ = ["ImageDataset", "SkippedFile", "load_images"]

# Files that a thread takes at a time: handing over each one alone costs a fifth of the time.
_BLOCK = 32


@dataclass(eq=False, repr=False)
class ImageDataset:
    """Images of one size with their labels.

    Attributes:
        images: uint8 ``(n, height, width, 3)``, 0..255.
        labels: int64 ``(n,)``, each an index into `class_names`.
        class_names: the class folders' names, sorted. A model with one output gives the
            probability of the second.
        paths: the n files that the images came from.
        skipped: what gave no image, with the reason; a split keeps the whole list on both parts.
        preprocessing: how the files became pixels.
        validation: bool ``(n,)``, true for images of the validation folder; None unless the
            folder came as a pair of a training and a validation folder.
        cached: how many of the images came from the cache; a split keeps the number of the whole.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    paths: list[Path]
    skipped: list[SkippedFile]
    preprocessing: Preprocessing
    validation: NDArray[np.bool_] | None = None
    cached: int = 0

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        height, width = self.preprocessing.image_size
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        classes = ", ".join(
            f"{name}: {n}" for name, n in zip(self.class_names, counts, strict=True)
        )
        return (
            f"ImageDataset({len(self)} images, {height} x {width}; {classes}; "
            f"{len(self.skipped)} skipped)"
        )

    def split(
        self, fraction: float = 0.2, seed: int | None = None
    ) -> tuple[ImageDataset, ImageDataset]:
        """Return the training and the validation part, as copies in the order of the whole.

        Each class gives the same fraction of its images, drawn at random. A data set that came
        as a pair of folders is parted as the folders are, whatever `fraction` and `seed` say.

        Args:
            fraction: share of the validation part, between 0 and 1; rounded to whole images.
            seed: the same seed gives the same parts; None draws anew each time.

        Raises:
            ValueError: a class would have no image in one of the parts; or a bad argument.
            TypeError: an argument is no number.
        """
        fraction = check_fraction("fraction", fraction)
        if seed is not None:
            seed = check_int("seed", seed, 0)
        chosen = self.validation
        if chosen is None:
            chosen = np.zeros(len(self), dtype=np.bool_)
            random = np.random.default_rng(seed)
            for label in range(len(self.class_names)):
                members = random.permutation(np.flatnonzero(self.labels == label))
                chosen[members[: int(fraction * len(members) + 0.5)]] = True
        for label, name in enumerate(self.class_names):
            members = chosen[self.labels == label]
            if members.all() or not members.any():
                raise ValueError(
                    f"fraction: expected images of every class in both parts, got "
                    f"{np.sum(~members)} for training and {np.sum(members)} for validation of "
                    f"{name!r} with {fraction}; add images or change the fraction"
                )
        return self._part(~chosen), self._part(chosen)

    def resized(self, image_size: tuple[int, int]) -> ImageDataset:
        """Return the images in another size, as a model of that size sees those it is trained on.

        For the validation of a model whose training images are larger than its own, because
        `Augment` takes crops of them. The pixels are those that `preprocessing` of the result
        makes of the files. In their own size they are this data set itself.
        """
        preprocessing = self.preprocessing.resized(image_size)
        if preprocessing == self.preprocessing:
            return self
        images = np.empty((len(self), *preprocessing.image_size, 3), np.uint8)
        for target, image in zip(images, self.images, strict=True):
            target[...] = resize(image, preprocessing.image_size)
        return replace(self, images=images, preprocessing=preprocessing)

    def _part(self, chosen: NDArray[np.bool_]) -> ImageDataset:
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            paths=[path for path, here in zip(self.paths, chosen, strict=True) if here],
            validation=None,
        )


def load_images(
    folder: str | os.PathLike[str],
    image_size: tuple[int, int] = (64, 64),
    *,
    class_names: Sequence[str] | None = None,
    cache: bool = True,
    progress: bool = False,
) -> ImageDataset:
    """Read a folder that holds one folder of images per class.

    Every file below a class folder, at any depth, belongs to that class. Where each class folder
    holds no file itself but two or more folders of files, it is taken for a data set, and refused,
    unless `class_names` are given. A file is judged by
    decoding it, not by its name; what cannot be read is skipped and listed in `skipped`, and
    nothing on disk is changed. Skipped too are hidden files and folders, Windows' ``Thumbs.db``
    and ``desktop.ini``, links to folders below a class folder, and files beside the class folders.
    Classes, and files within a class, come in sorted order.

    A folder that holds ``train`` and ``val`` (or ``training``; ``valid``, ``validation``; in any
    case), each with the same class folders, is read as a whole that `ImageDataset.split` parts as
    the folders do. A ``test`` folder beside the two is left alone.

    The images are kept in a cache on disk. A later call decodes only files that are new or have
    changed (path, size or time), or all where preprocessing or Pillow is another. The cache lies
    in the platform's folder for caches, or in ``FERROCNN_CACHE_DIR``, and takes 4 GiB at most.
    Where it cannot be written a warning is logged, and nothing else is different. After Ctrl-C it
    holds what was decoded until then.

    Small plain JPEG files are decoded in threads. In a folder of several thousand files all others
    are decoded in processes, one for each core, 8 at most. They run nothing of the program's own,
    and end before this function does.

    Memory: the images at model size, ``n * height * width * 3`` bytes, 32 more per core, and
    20 MB per process.

    Args:
        folder: the folder of class folders, or of such a pair.
        image_size: ``(height, width)`` of the images in pixels.
        class_names: names in the order of the labels, as a trained model knows them. Then folders
            may be missing or empty, and none may have another name.
        cache: whether to use that cache; False neither reads nor writes it.
        progress: show a bar on standard error if that is a terminal.

    Raises:
        FileNotFoundError, NotADirectoryError: `folder` is not there, or is a file.
        ValueError: the folder is not laid out as above, or a class has no readable image.
        TypeError: an argument is of the wrong type.
    """
    if not isinstance(cache, bool):
        raise TypeError(
            f"cache: expected True or False, got {cache!r}; FERROCNN_CACHE_DIR names the folder"
        )
    preprocessing = Preprocessing(image_size=image_size)
    layout = read_layout(folder, class_names)
    pictures, cached = _read(folder, layout.paths, preprocessing, cache, progress)
    images, reasons = pictures.images, pictures.reasons
    kept = np.array([reason is None for reason in reasons], dtype=np.bool_)
    skipped = layout.skipped + [
        SkippedFile(path, reason)
        for path, reason in zip(layout.paths, reasons, strict=True)
        if reason is not None
    ]
    labels = np.array(layout.labels, dtype=np.int64)
    validation = None if layout.validation is None else np.array(layout.validation, dtype=np.bool_)
    dataset = ImageDataset(
        images=_compacted(images, kept),
        labels=labels[kept],
        class_names=layout.class_names,
        paths=[path for path, here in zip(layout.paths, kept, strict=True) if here],
        skipped=sorted(skipped),
        preprocessing=preprocessing,
        validation=None if validation is None else validation[kept],
        cached=cached,
    )
    _check_classes(dataset, folder, need_all=class_names is None)
    return dataset


def _read(
    folder: str | os.PathLike[str],
    paths: Sequence[Path],
    preprocessing: Preprocessing,
    cache: bool,
    progress: bool,
) -> tuple[Pictures, int]:
    """Take from the cache what it has, and decode the rest; also how many pictures it had."""
    pictures = Pictures(
        images=np.empty((len(paths), *preprocessing.image_size, 3), dtype=np.uint8),
        reasons=[None] * len(paths),
        settled=np.zeros(len(paths), dtype=np.bool_),
    )
    if not cache:
        _decode(paths, pictures, preprocessing, progress)
        return pictures, 0
    on_disk = PictureCache(folder, paths, preprocessing)
    cached = on_disk.read(pictures)
    try:
        _decode(paths, pictures, preprocessing, progress)
    finally:  # after Ctrl-C, what was decoded until then
        on_disk.write(pictures)
    return pictures, cached


def _decode(
    paths: Sequence[Path], pictures: Pictures, preprocessing: Preprocessing, progress: bool
) -> None:
    """Decode what is not settled, on all cores."""
    from tqdm import tqdm

    todo = np.flatnonzero(~pictures.settled).tolist()
    stopped = threading.Event()
    decoders = decoders_for(preprocessing, len(todo))
    idle: SimpleQueue[Decoder] = SimpleQueue()

    def decode_block(start: int) -> int:
        block = todo[start : start + _BLOCK]
        decoder = idle.get()
        try:
            outcomes = decoder.decode([paths[index] for index in block])
            for index in block:
                if stopped.is_set():
                    break
                pixels, pictures.reasons[index], settled = next(outcomes)
                if pixels is not None:
                    pictures.images[index] = pixels
                pictures.settled[index] = settled
        except BaseException:  # the decoder is left half way: nobody may use it
            stopped.set()
            raise
        finally:
            idle.put(decoder)
        return len(block)

    pool = ThreadPoolExecutor(len(decoders))
    bar = tqdm(
        total=len(paths),
        initial=len(paths) - len(todo),
        unit=" images",
        disable=not progress or None,  # None: on a terminal only
    )
    with quiet_pillow, bar, contextlib.ExitStack() as stack:
        for decoder in decoders:
            stack.callback(decoder.close)
            idle.put(decoder)
        try:
            for block in [pool.submit(decode_block, i) for i in range(0, len(todo), _BLOCK)]:
                bar.update(block.result())
        finally:  # after Ctrl-C only what is being decoded is waited for
            stopped.set()
            pool.shutdown()


def _compacted(images: NDArray[np.uint8], kept: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Move the kept images to the front, in place: a copy would need the memory twice."""
    indices = np.flatnonzero(kept)
    for new, old in enumerate(indices):
        if new != old:
            images[new] = images[old]
    return images[: len(indices)]


def _check_classes(dataset: ImageDataset, folder: str | os.PathLike[str], need_all: bool) -> None:
    """Refuse a data set with no image at all, or (`need_all`) with none of a class in a part."""
    labels, validation = dataset.labels, dataset.validation
    if validation is None:
        parts = {"": labels}
    else:
        parts = {" to train on": labels[~validation], " to validate on": labels[validation]}
    lacking = [
        f"{name!r}{part}"
        for part, present in parts.items()
        for label, name in enumerate(dataset.class_names)
        if label not in present
    ]
    if len(dataset) == 0:
        problem = f"readable images in {folder}, got none"
    elif need_all and lacking:
        where = folder if validation is None else f"both parts of {folder}"
        problem = f"readable images of every class in {where}, got none of {', '.join(lacking)}"
    else:
        return
    first = "; ".join(f"{path}: {reason}" for path, reason in dataset.skipped[:3])
    raise ValueError(
        f"folder: expected {problem} ({len(dataset.skipped)} skipped{first and ': ' + first})"
    )
