"""A run folder.

study.json          settings, schema, code digest: written before step 1
environment.json    versions, machine, git state: of the first start
measures/<cell>     JSON lines, one file a net                            byte-identical between runs
nets/<cell>         planted nets, safetensors
state/<batch>       where training stands in mid-run; gone when it is done
times.jsonl         how long each batch took
verdict.json        what came out                                         byte-identical between runs
claim.json          of a claim, what its rule makes of that               byte-identical between runs
extended.json       the run that took this one's cells over and has more seeds
report.html, figures/
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from holdfast.errors import DamagedRun, HoldfastError
from holdfast.settings import digest, settings
from holdfast.store.measures import Measures, Recorder, ended, read
from holdfast.study import SCHEMA, Cell

ARM = (
    *("arm", "implant", "measure", "pressure", "setting", "host", "task", "budget", "looks", "attack_budget", "grid"),
    *("cells", "verdict", "label", "reason", "seeds", "held", "removed", "wrecked", "diverged", "interval", "level"),
    *("held_interval", "removed_interval", "suppressed", "curve", "outcomes"),
)
"""What `verdict.json` holds of every arm."""
CENSUS = ("census", "sample", "seeds", "cells", "measures")
"""What it holds of every census."""
CLAIM = ("claim", "size", "sentence", "verdict", "parts", "controls", "anchors", "invalid", "seeds", "look", "level")
"""What `claim.json` holds."""
PART = ("name", "what", "effect", "interval", "d", "says", "necessary", "units", "verdict", "reason")
"""What it holds of each part."""


@dataclass(frozen=True)
class RunFolder:
    """One run on disk. Any process may read; one at a time may write (`writing`)."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    # ------------------------------------------------------------------------------------------------ the whole run

    def begin(self, study: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
        """Write the settings before anything is measured.

        Raises:
            DamagedRun: the folder holds another study.
        """
        for part in ("measures", "nets", "state"):
            (self.path / part).mkdir(parents=True, exist_ok=True)
            for half in (self.path / part).glob(".tmp*"):  # safetensors leaves these when it is killed in a write
                half.unlink(missing_ok=True)
        if not (self.path / "environment.json").exists():
            self._write("environment.json", environment)
        if not (self.path / "study.json").exists():
            self._write("study.json", study)
        elif self.study() != json.loads(json.dumps(study)):
            raise DamagedRun(f"{self.path} holds a run of other settings. Choose another folder with --out.")

    def study(self) -> dict[str, Any]:
        """The settings that were stored.

        Raises:
            DamagedRun: no run here, or one that cannot be read.
            HoldfastError: made by a newer schema.
        """
        study = self._read("study.json")
        schema = study.get("schema")
        if not isinstance(schema, int):
            raise DamagedRun(f"{self.path / 'study.json'} names no schema: it was not written by holdfast.")
        self._expect(
            "study.json", study, ("hash", "holdfast", "code", "study", "arms", "data") if schema <= SCHEMA else ()
        )
        if schema > SCHEMA:
            raise HoldfastError(
                f"{self.path} was made by a newer holdfast (schema {schema}; this one reads up to {SCHEMA}). "
                f"Upgrade: pip install -U holdfast."
            )
        return study

    def environment(self) -> dict[str, Any]:
        """Versions and machine of the first start; `unknown` where the file is lost: no verdict rests on it."""
        try:
            found = self._read("environment.json")
        except DamagedRun:
            found = {}
        unknown = dict.fromkeys(("started", "processor", "cores", "platform", "python"), "unknown")
        return {**unknown, "versions": {}, "command": [], "git": None, **found}

    def verdict(self) -> dict[str, Any] | None:
        """What came out, or None while the run is not complete."""
        if not (self.path / "verdict.json").exists():
            return None
        verdict = {"censuses": [], **self._read("verdict.json")}  # runs from before there were any have none
        self._expect("verdict.json", verdict, ("question", "arms", "comparisons"))
        for arm in verdict["arms"]:
            self._expect("verdict.json", arm, ARM)
        for census in verdict["censuses"]:
            self._expect("verdict.json", census, CENSUS)
        return verdict

    def claim(self) -> dict[str, Any] | None:
        """What came out of a claim, or None where the run is of none."""
        if not (self.path / "claim.json").exists():
            return None
        claim = self._read("claim.json")
        self._expect("claim.json", claim, CLAIM)
        for part in claim["parts"]:
            self._expect("claim.json", part, PART)
        return claim

    def write_claim(self, claim: Mapping[str, Any]) -> None:
        """Write what came out of a claim (atomically)."""
        self._write("claim.json", claim)

    def judged(self, rules: str) -> bool:
        """Whether there is a verdict, by these rules, and every cell that it rests on."""
        verdict = self.verdict() if (self.path / "study.json").exists() else None
        if verdict is None or verdict.get("rules") != rules:
            return False
        sides = [side for row in (*verdict["arms"], *verdict["censuses"]) for side in row["cells"].values()]
        return all(self.complete(key) for side in sides for key in side.values())

    def extension(self) -> str | None:
        """Name of the run that this one was extended into, if it is still there."""
        if not (self.path / "extended.json").exists():
            return None
        into = str(self._read("extended.json").get("into"))
        return into if (self.path.parent / into).is_dir() else None

    def note_extension(self, into: str) -> None:
        """Note that seeds were added to this run, and where."""
        self._write("extended.json", {"into": into})

    def write_verdict(self, verdict: Mapping[str, Any]) -> None:
        """Write what came out (atomically)."""
        self._write("verdict.json", verdict)

    def add_time(self, row: Mapping[str, Any]) -> None:
        """Note how long something took."""
        with (self.path / "times.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Note the wall-clock time of what is done inside, also when it fails."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add_time({"stage": "run", "wall_s": time.perf_counter() - began})

    def seconds(self) -> float:
        """Wall-clock seconds spent on this run so far, over all its starts."""
        path = self.path / "times.jsonl"
        total = 0.0
        for line in path.read_bytes().splitlines() if path.exists() else ():
            try:
                total += float(json.loads(line).get("wall_s", 0.0))
            except (ValueError, TypeError, AttributeError):
                continue  # torn by a kill, or damaged: a time is not worth more
        return total

    @contextmanager
    def writing(self, patience_s: float = 10.0) -> Iterator[None]:
        """Hold the folder for writing.

        Raises:
            HoldfastError: another process holds it, also after `patience_s` seconds.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("w") as lock:
            until = time.monotonic() + patience_s
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > until:
                        raise HoldfastError(f"Another process is writing to {self.path}. Wait for it to end.") from None
                    time.sleep(0.1)
            yield

    # ---------------------------------------------------------------------------------------------------- its cells

    def key(self, cell: Cell) -> str:
        """Name of a cell: SHA-256 over every field of it, the schema, the version and the digest of the code."""
        return digest([self._code, settings(cell)])

    @cached_property
    def _code(self) -> list[Any]:
        study = self.study()
        return [study["schema"], study["holdfast"], study["code"]]

    def measures_path(self, key: str) -> Path:
        return self.path / "measures" / f"{key}.jsonl"

    def net_path(self, key: str) -> Path:
        return self.path / "nets" / f"{key}.safetensors"

    def state_path(self, key: str) -> Path:
        return self.path / "state" / key

    def recorder(self, key: str, cell: Mapping[str, Any]) -> Recorder:
        """The writer of one cell's measures."""
        return Recorder(self.measures_path(key), cell)

    def measures(self, key: str) -> Measures | None:
        """What was measured of a cell; None where nothing is."""
        path = self.measures_path(key)
        return read(path) if path.exists() else None

    def complete(self, key: str) -> bool:
        """Whether a cell is done."""
        return ended(self.measures_path(key))

    # --------------------------------------------------------------------------------------------------------- JSON

    def _read(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            value = json.loads(path.read_text())
        except FileNotFoundError:
            raise DamagedRun(f"{self.path} is no run folder: it has no {name}.") from None
        except (ValueError, UnicodeDecodeError):
            raise DamagedRun(
                f"{path} is damaged (not JSON). The measures are untouched: move {name} away and run again."
            ) from None
        if not isinstance(value, dict):
            raise DamagedRun(f"{path} is damaged: expected an object, got {type(value).__name__}.")
        return value

    def _expect(self, name: str, value: Mapping[str, Any], keys: Sequence[str]) -> None:
        missing = sorted(set(keys) - value.keys()) if isinstance(value, Mapping) else list(keys)
        if missing:
            raise DamagedRun(
                f"{self.path / name} is damaged: it lacks {', '.join(missing)}. The measures are untouched: "
                f"move {name} away and run again."
            )

    def _write(self, name: str, value: Mapping[str, Any]) -> None:
        fresh = self.path / f"{name}.tmp"
        fresh.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n")
        os.replace(fresh, self.path / name)
