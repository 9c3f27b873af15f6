"""What other people's code draws from and may set, the random generators above all: given back as it was."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def untouched() -> Iterator[None]:
    """Whatever is drawn inside, Python's, NumPy's and PyTorch's generators are afterwards as they were before."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.random.set_rng_state(cpu)
        if gpus:
            torch.cuda.set_rng_state_all(gpus)


@contextmanager
def put_back() -> Iterator[None]:
    """Whatever is set inside, PyTorch's defaults and the working directory are afterwards as they were before."""
    grad, dtype, folder = torch.is_grad_enabled(), torch.get_default_dtype(), os.getcwd()
    device, threads = torch.get_default_device(), torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        os.chdir(folder)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, Python's, NumPy's and PyTorch's generators start from `seed`; afterwards they are as before."""
    with untouched():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)
        yield
