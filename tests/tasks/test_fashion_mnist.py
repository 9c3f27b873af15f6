"""Fashion-MNIST: what Debian packs against an independent parse, and files that are wrong, written by hand.

The published checksums are of the authors' .gz files. Debian's differ from those in their headers alone, which name
no file and another time; with name and time put back, they must have the published MD5.
"""

import gzip
import hashlib
import os
import shutil
import struct
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer, SimpleHTTPRequestHandler

import numpy as np
import pytest
import torch

from holdfast import FashionMNIST, HoldfastError, UsageError
from holdfast.parts import Task
from holdfast.settings import settings
from holdfast.tasks import fashion_mnist_files
from holdfast.tasks.fashion_mnist_files import DEBIAN, FILES

NAMES = [file.name for file in FILES.values()]
TIMES = dict(zip(NAMES, (1504176606, 1504176606, 1504176627, 1504176627), strict=True))
MD5 = dict(
    zip(
        NAMES,
        (
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        strict=True,
    )
)
"""From the README of zalandoresearch/fashion-mnist."""
debian = pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")


def published(name):
    """The authors' .gz, out of Debian's."""
    raw = (DEBIAN / f"{name}.gz").read_bytes()
    return raw[:3] + b"\x08" + struct.pack("<I", TIMES[name]) + raw[8:10] + name.encode() + b"\0" + raw[10:]


def unpacked(name):
    return gzip.decompress((DEBIAN / f"{name}.gz").read_bytes())


@pytest.fixture(scope="session")
def truth():
    """(images, labels) of both parts, by NumPy alone."""
    read = lambda name, at: np.frombuffer(unpacked(name), np.uint8, offset=at)
    return {
        part: (read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 28, 28), read(f"{part}-labels-idx1-ubyte", 8))
        for part in ("train", "t10k")
    }


@pytest.fixture(scope="session")
def loaded():
    return FashionMNIST(folder=DEBIAN).load()


@debian
@pytest.mark.parametrize("name", NAMES)
def test_what_debian_packs_is_what_the_authors_publish(name):
    assert hashlib.md5(published(name), usedforsecurity=False).hexdigest() == MD5[name]


@debian
def test_every_image_is_there_once_with_its_label(loaded, truth):
    assert [len(part) for part in (loaded.train, loaded.validation, loaded.test)] == [55_000, 5_000, 10_000]
    seen = {}
    for split in (loaded.train, loaded.validation):
        rows = (split.x * 255).round().to(torch.uint8).numpy().reshape(-1, 784)
        assert torch.equal(split.x, torch.from_numpy(rows.reshape(-1, 28, 28)) / 255)
        seen |= {row.tobytes(): y for row, y in zip(rows, split.y.tolist(), strict=True)}
    images, labels = truth["train"]
    assert len(seen) == len({row.tobytes() for row in images}) == 60_000, "no two images are equal"
    assert all(seen[row.tobytes()] == y for row, y in zip(images, labels.tolist(), strict=True))


@debian
def test_the_test_images_are_the_authors_in_their_order(loaded, truth):
    images, labels = truth["t10k"]
    assert torch.equal(loaded.test.x, torch.tensor(images) / 255)
    assert loaded.test.y.tolist() == labels.tolist()


@debian
def test_known_facts(loaded):
    everything = torch.cat([loaded.train.y, loaded.validation.y])
    assert everything.bincount().tolist() == [6000] * 10
    assert loaded.test.y.bincount().tolist() == [1000] * 10
    assert loaded.test.y[:10].tolist() == [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]
    for split in (loaded.train, loaded.validation, loaded.test):
        assert (split.x.dtype, split.y.dtype, split.classes) == (torch.float32, torch.int64, 10)
        assert (split.x.min(), split.x.max()) == (0, 1)
    deviation, mean = torch.std_mean(loaded.train.x)
    assert (mean, deviation) == (pytest.approx(0.2860, abs=1e-3), pytest.approx(0.3530, abs=1e-3))


@debian
def test_the_split_never_changes(loaded):
    assert {name: part["sha256"][:16] for name, part in loaded.record().items()} == {
        "train": "f5b03bd540c745c4",
        "validation": "205fe2f7203576c2",
        "test": "85becac1ad785a4a",
    }


@debian
def test_validation_can_be_of_another_size(loaded):
    """They are the first images of one permutation, whatever their number."""
    data = FashionMNIST(folder=DEBIAN, validation=20).load()
    assert (len(data.train), len(data.validation)) == (59_980, 20)
    assert torch.equal(data.validation.x, loaded.validation.x[:20])
    assert torch.equal(torch.cat([data.validation.y, data.train.y]), torch.cat([loaded.validation.y, loaded.train.y]))


@debian
def test_it_is_loaded_once_and_in_time():
    code = (
        "import time; from holdfast import FashionMNIST; begin = time.perf_counter(); "
        "data = FashionMNIST().load(); print(time.perf_counter() - begin); assert FashionMNIST().load() is data"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 10, "2 s on an idle machine"


def test_the_part_itself():
    task = FashionMNIST()
    assert isinstance(task, Task)
    assert task.label == "Fashion-MNIST"
    assert FashionMNIST(validation=1000).label == "Fashion-MNIST, 1000 to validate"
    assert hash(task) == hash(FashionMNIST(folder="elsewhere"))
    assert settings(FashionMNIST(folder="elsewhere")) == settings(task), "where checked files lie decides nothing"
    assert settings(FashionMNIST(validation=1000)) != settings(task)


@pytest.mark.parametrize("wrong", [0, -1, 19, 60_000, 0.1, True, "5000"])
def test_validation_that_leaves_nothing_to_choose_or_train_on(wrong):
    with pytest.raises(UsageError, match="validation must be"):
        FashionMNIST(validation=wrong)


# ------------------------------------------------------------------------------------------------------ where it is


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine that has no files yet."""
    monkeypatch.setattr(fashion_mnist_files, "DEBIAN", tmp_path / "debian")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("HOLDFAST_DATA", raising=False)
    return tmp_path


def made(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or NAMES:
        (folder / name).write_bytes(b"")
    return folder


def test_the_places_in_their_order(nowhere, monkeypatch):
    monkeypatch.setenv("HOLDFAST_DATA", str(nowhere / "data"))
    places = [nowhere / "cache/holdfast/fashion-mnist", nowhere / "debian", nowhere / "data/fashion-mnist"]
    for folder in places:
        made(folder)
        assert fashion_mnist_files.place(None) == folder
    assert fashion_mnist_files.place(made(nowhere / "own")) == nowhere / "own"
    (nowhere / "data/fashion-mnist" / NAMES[2]).unlink()
    assert fashion_mnist_files.place(None) == nowhere / "debian", "three files are no data set"


def test_without_files_it_says_how_to_get_them(nowhere, monkeypatch):
    monkeypatch.setenv("HOLDFAST_DATA", str(nowhere / "data"))
    made(nowhere / "debian", *NAMES[:3])
    with pytest.raises(HoldfastError) as error:
        FashionMNIST().load()
    for part in (
        "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte",
        f"{nowhere}/data/fashion-mnist (none of them)",
        f"{nowhere}/debian (no t10k-labels-idx1-ubyte)",
        f"{nowhere}/cache/holdfast/fashion-mnist (none of them)",
        "FashionMNIST.download()",
        "apt install dataset-fashion-mnist",
        "FashionMNIST(folder=...)",
        "HOLDFAST_DATA",
    ):
        assert part in str(error.value)


def test_a_folder_is_the_only_place_if_it_is_given(nowhere):
    made(nowhere / "debian")
    with pytest.raises(HoldfastError, match=rf'looked in {nowhere}/no \(none of them\).*download\("{nowhere}/no"\)'):
        FashionMNIST(folder=nowhere / "no").load()


# ----------------------------------------------------------------------------------------------- what is in the files


def write(folder, images=(4, 28, 28), labels=(0, 1, 2, 9)):
    """A small set of files with right headers, for both parts."""
    folder.mkdir()
    for part in ("train", "t10k"):
        held = struct.pack(">4B3I", 0, 0, 8, 3, *images) + bytes(int(np.prod(images)))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(held)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">4BI", 0, 0, 8, 1, len(labels)) + bytes(labels))
    return folder


def refused(folder, match):
    with pytest.raises(HoldfastError, match=match):
        FashionMNIST(folder=folder).load()


def test_another_data_set(tmp_path):
    refused(
        write(tmp_path / "a"),
        r"a/train-images-idx3-ubyte is not Fashion-MNIST's train-images-idx3-ubyte: expected content of SHA-256 "
        r"c59f468a2f67\.\.\., got [0-9a-f]{12}\.\.\. \(3,152 bytes\)",
    )


def test_counts_that_disagree(tmp_path):
    refused(
        write(tmp_path / "a", labels=(1, 2, 3)),
        "train-images-idx3-ubyte has 4 images, but .*train-labels-idx1-ubyte 3 labels",
    )


def test_labels_that_are_none(tmp_path):
    refused(
        write(tmp_path / "a", labels=(1, 2, 47, 3)),
        "train-labels-idx1-ubyte has the label 47 at place 2; expected 0 to 9",
    )


def test_labels_in_the_place_of_images(tmp_path):
    folder = write(tmp_path / "a")
    shutil.copy(folder / "train-labels-idx1-ubyte", folder / "train-images-idx3-ubyte")
    refused(folder, "train-images-idx3-ubyte begins with 00 00 08 01; .* in 3 axes begins with 00 00 08 03")


def test_a_file_that_was_cut_short(tmp_path):
    folder = write(tmp_path / "a")
    with (folder / "train-images-idx3-ubyte").open("r+b") as file:
        file.truncate(1000)
    refused(folder, "has 984 values; its header says 4 x 28 x 28 = 3,136")


@debian
def test_one_wrong_pixel(tmp_path):
    """Plain files, since a packed one has a checksum of its own."""
    for name in NAMES:
        held = bytearray(unpacked(name))
        if name == NAMES[2]:
            held[-1] ^= 1
        (tmp_path / name).write_bytes(held)
    refused(tmp_path, "t10k-images-idx3-ubyte is not Fashion-MNIST's t10k-images-idx3-ubyte")


# ---------------------------------------------------------------------------------------------------------- download


@pytest.fixture
def served(nowhere):
    """A mirror on this machine: (its address, the folder it serves, the paths it was asked for)."""
    asked, folder = [], nowhere / "mirror"
    folder.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_request(self, code="-", size="-"):
            asked.append(self.path)

        def log_message(self, *_):
            pass

    yield from serving(partial(Quiet, directory=str(folder)), folder, asked)


def serving(handler, *more):
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", *more
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@debian
def test_what_is_downloaded_is_checked_and_found_by_the_next_load(served, nowhere, loaded):
    mirror, folder, asked = served
    for name in NAMES:
        (folder / f"{name}.gz").write_bytes(published(name))
    where = FashionMNIST.download(mirror=mirror)
    assert where == nowhere / "cache/holdfast/fashion-mnist"
    assert sorted(os.listdir(where)) == sorted(f"{name}.gz" for name in NAMES), "and nothing unfinished"
    assert FashionMNIST().load().record() == loaded.record()
    (where / f"{NAMES[3]}.gz").unlink()
    asked.clear()
    FashionMNIST.download(mirror=mirror)
    assert asked == [f"/{NAMES[3]}.gz"], "what is there is not downloaded again"


def test_something_else_in_its_place(served, nowhere):
    mirror, folder, _ = served
    (folder / f"{NAMES[0]}.gz").write_bytes(b"<html>Please log in</html>")
    with pytest.raises(HoldfastError, match="is not the published file: expected MD5 8d4f.*nothing was kept"):
        FashionMNIST.download(nowhere / "own", mirror=mirror)
    assert not list((nowhere / "own").iterdir())


def test_a_mirror_without_the_file(served, nowhere):
    with pytest.raises(HoldfastError, match="ubyte.gz could not be downloaded: HTTP Error 404"):
        FashionMNIST.download(nowhere, mirror=served[0])


class Short(BaseHTTPRequestHandler):
    """Promises more than it sends."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)

    def log_message(self, *_):
        pass


def test_a_broken_connection(nowhere):
    for (mirror,) in serving(Short):
        with pytest.raises(HoldfastError, match="could not be downloaded: IncompleteRead"):
            FashionMNIST.download(nowhere / "own", mirror=mirror)
        assert not list((nowhere / "own").iterdir())


@pytest.mark.parametrize("mirror", ["http://127.0.0.1:9/", "nonsense", "http://[::1"])
def test_without_a_network(nowhere, mirror):
    with pytest.raises(HoldfastError, match="could not be downloaded: .* apt install dataset-fashion-mnist"):
        FashionMNIST.download(nowhere, mirror=mirror)


def test_a_folder_that_cannot_be_written_to(nowhere):
    (nowhere / "file").write_text("")
    with pytest.raises(HoldfastError, match="file cannot be written to: "):
        FashionMNIST.download(nowhere / "file", mirror="http://127.0.0.1:9/")


def test_loading_never_downloads(nowhere, monkeypatch):
    monkeypatch.setattr(fashion_mnist_files, "urlopen", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(HoldfastError, match="was not found"):
        FashionMNIST().load()
