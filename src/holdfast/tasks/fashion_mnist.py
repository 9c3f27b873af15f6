"""Fashion-MNIST: articles of clothing, 28 x 28 pixels."""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from holdfast.errors import HoldfastError, UsageError, whole
from holdfast.tasks.base import Data, Split
from holdfast.tasks.fashion_mnist_files import FILES, MIRROR, cache, check_content, fetch, file_in, place
from holdfast.tasks.idx import content, parsed

CLASSES, EXAMPLES, LEAST = 10, 60_000, 20
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class FashionMNIST:
    """70,000 grey images of 28 x 28 pixels, ten classes: 55,000 to train, 5,000 to validate, 10,000 to test.

    x_NHW (float32) is each byte divided by 255, so in [0, 1]; y_N (int64): 0 T-shirt, 1 trouser, 2 pullover, 3 dress,
    4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag, 9 ankle boot. The test images are those that the authors set apart;
    validation images are taken out of their 60,000 by one fixed permutation (Philox, key 0), the same for every seed.

    Files are read from the first that has all four, packed (.gz) or not: `folder`, and no other if it is given;
    $HOLDFAST_DATA/fashion-mnist; /usr/share/datasets/fashion-mnist (Debian's package dataset-fashion-mnist); the cache
    that `FashionMNIST.download()` fills. Loading never downloads. What is in them is checked by SHA-256, so where they
    lie decides nothing, and `folder` is no part of what a run is known by.

    When it misleads: all nets see one test set, whose own sampling error (0.3 points at 89 %) is not in the spread over
    seeds. The ceiling is not 100 %: 96.7 % is the best in the authors' table, 90 % a perceptron, 83.5 % people.

    Source: Xiao, Rasul & Vollgraf 2017, Fashion-MNIST, arXiv 1708.07747.
    """

    folder: str | Path | None = field(default=None, compare=False, metadata={"stored": False})
    validation: int = 5000
    """Images taken out of the authors' 60,000 for choices, 20 at least; the others train."""

    def __post_init__(self) -> None:
        whole("validation", self.validation)
        if self.folder is not None and not isinstance(self.folder, str | Path):
            raise UsageError(f"folder is a path; got {self.folder!r}.")
        if not LEAST <= self.validation < EXAMPLES:
            raise UsageError(
                f"validation must be {LEAST} to {EXAMPLES - 1} of the {EXAMPLES} images, since choices such as the "
                f"strongest attacker are made on it; got {self.validation}."
            )

    @property
    def label(self) -> str:
        return "Fashion-MNIST" + ("" if self.validation == 5000 else f", {self.validation} to validate")

    def load(self) -> Data:
        """The three splits, 220 MB, kept in this process.

        Raises:
            HoldfastError: no files, with every way to get them; or one that is damaged or of another data set.
        """
        return _loaded(place(self.folder), self.validation)

    @staticmethod
    def download(folder: str | Path | None = None, mirror: str = MIRROR) -> Path:
        """Download the files (31 MB) into `folder`, by default the cache, and check them; return where they are.

        What is there already is not downloaded again (loading checks it). Nothing else in this package ever calls this.

        Raises:
            HoldfastError: no network, something else than the published files, or no right to write there.
        """
        return fetch(cache() if folder is None else Path(folder).expanduser().absolute(), mirror)


@lru_cache(maxsize=1)
def _loaded(folder: Path, validation: int) -> Data:
    images, labels = _read(folder, "train")
    order = np.random.Generator(np.random.Philox(key=0)).permutation(len(labels))
    test = _read(folder, "test")
    return Data(
        train=_split(images[order[validation:]], labels[order[validation:]]),
        validation=_split(images[order[:validation]], labels[order[:validation]]),
        test=_split(test[0].copy(), test[1]),
        classes=CLASSES,
    )


def _split(images: Bytes, labels: Bytes) -> Split:
    return Split(torch.from_numpy(images).float().div_(255), torch.from_numpy(labels.astype(np.int64)), CLASSES)


def _read(folder: Path, part: str) -> tuple[Bytes, Bytes]:
    """Images and labels of `train` or `test`. What is wrong is said as precisely as can be, so checksums come last."""
    files = [FILES[f"{part} images"], FILES[f"{part} labels"]]
    paths = [file_in(folder, file) or folder / file.name for file in files]
    held = [content(path) for path in paths]
    images, labels = parsed(held[0], str(paths[0]), axes=3), parsed(held[1], str(paths[1]), axes=1)
    _agree(images, labels, *paths)
    for raw, path, file in zip(held, paths, files, strict=True):
        check_content(raw, str(path), file)
    return images, labels


def _agree(images: Bytes, labels: Bytes, images_path: Path, labels_path: Path) -> None:
    if len(images) != len(labels):
        raise HoldfastError(
            f"{images_path} has {len(images):,} images, but {labels_path} {len(labels):,} labels; expected one for "
            f"each. They are of different sets: get both again."
        )
    if labels.size and labels.max() >= CLASSES:
        at = int((labels >= CLASSES).argmax())
        raise HoldfastError(
            f"{labels_path} has the label {labels[at]} at place {at:,}; expected 0 to {CLASSES - 1}. It is damaged, or "
            f"of another data set: get it again."
        )
