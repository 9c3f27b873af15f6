"""The four files of Fashion-MNIST: what they hold, where they are looked for, and how to get them."""

import hashlib
import os
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from holdfast.errors import HoldfastError
from holdfast.tasks.idx import unpacked

MIRROR = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
SECONDS = 30.0
ANYWHERE = (
    "Get them by: python -c 'import holdfast; holdfast.FashionMNIST.download()' (31 MB); or, on Debian and Ubuntu, apt "
    "install dataset-fashion-mnist; or name a folder that has them, FashionMNIST(folder=...), or set HOLDFAST_DATA to "
    "the folder around it, in which it is called fashion-mnist."
)
HERE = (
    "Put them there; or get them by: python -c 'import holdfast; holdfast.FashionMNIST.download(\"{folder}\")'; "
    "or leave `folder` out: then the usual places are looked through."
)


class Published(NamedTuple):
    """A file as its authors publish it."""

    name: str
    md5: str
    """Of the .gz, as the authors' README has it."""
    sha256: str
    """Of what is in it, so that it does not matter who packed it and how."""


FILES = {
    "train images": Published(
        "train-images-idx3-ubyte",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    ),
    "train labels": Published(
        "train-labels-idx1-ubyte",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    "test images": Published(
        "t10k-images-idx3-ubyte",
        "bef4ecab320f06d8554ea6380940ec79",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    ),
    "test labels": Published(
        "t10k-labels-idx1-ubyte",
        "bb300cfdad3c16e7a12a480ee83cd310",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
}


def check_content(held: bytes, name: str, file: Published) -> None:
    """Refuse what is not, by SHA-256, the content of that file. 47 MB take 0.05 to 0.2 s.

    Raises:
        HoldfastError: another content.
    """
    got = hashlib.sha256(held).hexdigest()
    if got != file.sha256:
        raise HoldfastError(
            f"{name} is not Fashion-MNIST's {file.name}: expected content of SHA-256 {file.sha256[:12]}..., got "
            f"{got[:12]}... ({len(held):,} bytes). It is damaged, or of another data set (MNIST has files of the same "
            f"names). Get it again, or load data of your own with `OwnData`."
        )


def file_in(folder: Path, file: Published) -> Path | None:
    """The file in a folder, plain or packed; plain first, since it is read sooner."""
    both = (folder / file.name, folder / f"{file.name}.gz")
    return next((path for path in both if os.path.isfile(path)), None)


def cache() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/holdfast/fashion-mnist, by default under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "holdfast" / "fashion-mnist"


def place(folder: str | Path | None) -> Path:
    """The first place that has all four files: `folder` and no other if it is given, else the usual ones.

    Raises:
        HoldfastError: none has; it says where was looked, and every way to get them.
    """
    data = os.environ.get("HOLDFAST_DATA")
    usual = [*([Path(data) / "fashion-mnist"] if data else []), DEBIAN, cache()]
    places = [path.expanduser().absolute() for path in ([Path(folder)] if folder is not None else usual)]
    missing = {path: [file.name for file in FILES.values() if file_in(path, file) is None] for path in places}
    for path, names in missing.items():
        if not names:
            return path
    looked = "; ".join(
        f"{path} ({'none of them' if len(names) == len(FILES) else 'no ' + ', '.join(names)})"
        for path, names in missing.items()
    )
    raise HoldfastError(
        f"Fashion-MNIST was not found. Expected {', '.join(file.name for file in FILES.values())}, each plain or .gz; "
        f"looked in {looked}. {HERE.format(folder=folder) if folder is not None else ANYWHERE}"
    )


def fetch(folder: Path, mirror: str = MIRROR) -> Path:
    """Download what `folder` lacks, check it, and keep it there; return the folder.

    A file is written under another name first, so that a broken download leaves nothing behind that looks whole.

    Raises:
        HoldfastError: no network, something else than the published file came, or the folder cannot be written to.
    """
    for file in FILES.values():
        if file_in(folder, file) is None:
            part = folder / f".{file.name}.{os.getpid()}"
            try:
                folder.mkdir(parents=True, exist_ok=True)  # before 26 MB are waited for
                part.write_bytes(_published(f"{mirror.rstrip('/')}/{file.name}.gz", file, folder))
                part.replace(folder / f"{file.name}.gz")
            except OSError as error:
                with suppress(OSError):
                    part.unlink()
                raise HoldfastError(
                    f"{folder} cannot be written to: {error.strerror}. Mend that, or choose another folder."
                ) from None
    return folder


def _published(url: str, file: Published, folder: Path) -> bytes:
    try:
        with urlopen(url, timeout=SECONDS) as answer:
            raw: bytes = answer.read()
    except (OSError, HTTPException, ValueError) as error:
        raise HoldfastError(
            f"{url} could not be downloaded: {error}. Without a network, apt install dataset-fashion-mnist, or copy "
            f"the file by other means into {folder}."
        ) from None
    got = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if got != file.md5:
        raise HoldfastError(
            f"What came from {url} is not the published file: expected MD5 {file.md5}, got {got} ({len(raw):,} bytes). "
            f"A proxy may have answered in its place; nothing was kept. Try again, or another mirror."
        )
    check_content(unpacked(raw, url), url, file)
    return raw
