"""`holdfast doctor`."""

import importlib.util
import json
import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.engines import cores
from holdfast.store import runs_root
from holdfast.store.environment import versions

EXTRAS = {"survival": "lifelines", "hf": "transformers"}
NETWORK_DISKS = {"nfs", "nfs4", "cifs", "smb3", "lustre", "gpfs", "fuse.sshfs", "9p"}


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Say what this machine has, and what to install where something is absent."""

    out: Path | None = None
    """Folder for runs. Default: $HOLDFAST_RUNS, else ./runs."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Look and print. Exit status 1 if something must be mended before a run."""
        found, faults = self.look()
        if self.json:
            print(json.dumps({**found, "faults": faults}))
        else:
            for name, value in found.items():
                print(f"{name:<12} {', '.join(map(str, value)) if isinstance(value, list) else value}")
            for fault in faults:
                print(f"FIX          {fault}")
        return 1 if faults else 0

    def look(self) -> tuple[dict[str, Any], list[str]]:
        """What is there, and what must be mended."""
        root = runs_root(self.out)
        near = next(path for path in (root.absolute(), *root.absolute().parents) if path.exists())
        free = shutil.disk_usage(near).free
        disk = _disk_kind(near)
        absent = [f'pip install "holdfast[{extra}]"' for extra, m in EXTRAS.items() if not importlib.util.find_spec(m)]
        found: dict[str, Any] = {
            "python": platform.python_version(),
            **{name: version for name, version in versions().items() if name in ("holdfast", "torch", "numpy")},
            "device": _device(),
            "cores": cores(),
            "runs": str(root),
            "disk": f"{disk}, {free / 1e9:.1f} GB free",
            "extras": absent or ["all there"],
        }
        faults = []
        if not os.access(near, os.W_OK):
            faults.append(f"{near} is not writable. Choose a folder for runs with --out or HOLDFAST_RUNS.")
        if free < 200e6:
            faults.append(f"Only {free / 1e6:.0f} MB are free at {near}; the demo takes about 25 MB, other runs more.")
        if disk in NETWORK_DISKS:
            faults.append(f"{near} lies on a network disk ({disk}), where file locks may not hold. Choose a local one.")
        return found, faults


def _device() -> str:
    try:
        import torch
    except ImportError as error:
        return f"torch cannot be imported ({error})"
    return f"cuda ({torch.cuda.get_device_name(0)})" if torch.cuda.is_available() else "cpu"


def _disk_kind(path: Path) -> str:
    """File system of a path, from the longest mount point above it."""
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "local"
    above = [(point, kind) for point, kind in mounts if path == Path(point) or Path(point) in path.parents]
    return max(above, key=lambda m: len(m[0]), default=("", "local"))[1]
