"""`holdfast chip`: programs on a processor that is a network."""

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from holdfast.chip.machine import Machine

MOST_LANES = 4096
PLAIN_EVERY_S = 10.0


@dataclass(frozen=True, kw_only=True)
class ChipRun:
    """Run a program on the core that is a network (RV32I), with ROM and RAM around it, until it stops.

    Exit status 1 if a lane stopped otherwise than by an ecall, or still ran."""

    program: tyro.conf.Positional[Path]
    """An ELF executable (gcc -march=rv32i -mabi=ilp32 -static -nostdlib); with --at, bare bytes."""
    at: str | None = None
    """Of bare bytes: the address where they stand and begin."""
    cycles: int = 100_000
    """Ticks, at most. An instruction takes one, a load two."""
    lanes: int = 1
    """So many of it side by side."""
    ram: str = "0x10000"
    """Bytes of RAM beside what the program brings."""
    ram_at: str = "0x80000000"
    """Address of that RAM."""
    output: str = "0x10000000"
    """Address of the output word: what a program stores there is printed."""
    engine: str | None = None
    """Who computes the ticks, to the same bits: network (in PyTorch), kernel (its sums in a compiled loop) or bits
    (its circuit on words of bits). Default: the fastest that is there."""
    trace: bool = False
    """A line for each instruction of the first lane: tick, pc, instruction, what it changed."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Run it. Exit status 1 if not every lane came to an ecall."""
        from holdfast.chip.memory import Ram
        from holdfast.chip.program import read_program
        from holdfast.errors import UsageError, counted

        counted("chip run", cycles=self.cycles, lanes=self.lanes)
        engine = _engine(self.engine)
        if self.lanes > MOST_LANES:
            raise UsageError(f"--lanes is {MOST_LANES:,} at most; got {self.lanes:,}.")
        ram = Ram(_number("ram-at", self.ram_at), _number("ram", self.ram))
        output = _number("output", self.output)
        program = read_program(self.program, None if self.at is None else _number("at", self.at))

        from holdfast.chip.machine import Machine
        from holdfast.engines.base import one_thread

        machine = Machine([program] * self.lanes, ram=ram, output=output, engine=engine)
        began = time.perf_counter()
        # Its sums are so small that two threads wait for one another. Interrupted, lanes say where they are.
        with one_thread(), suppress(KeyboardInterrupt), _between_ticks() as interrupted:
            if self.trace:
                self._trace(machine, interrupted)
            else:
                with _progress(f"running {self.program.name}", self.cycles) as show:

                    def watch(ticks: int) -> None:
                        show(ticks)
                        interrupted()

                    machine.run(self.cycles, watch)
        record = self._record(machine, time.perf_counter() - began)
        print(json.dumps(record) if self.json else _said(record))
        return 0 if all(stop.done for stop in machine.stops()) else 1

    def _trace(self, machine: "Machine", interrupted: Callable[[], None]) -> None:
        from holdfast.chip.tracing import HEADING, trace

        to = sys.stderr if self.json else sys.stdout
        print(HEADING, file=to)
        for line in trace(machine, self.cycles):
            print(line, file=to)
            interrupted()

    def _record(self, machine: "Machine", seconds: float) -> dict[str, Any]:
        from holdfast.chip.disassembly import REGISTERS

        lanes, held = [], machine.registers_B32.tolist()
        for stop, outputs, registers in zip(machine.stops(), machine.outputs, held, strict=True):
            named = dict(zip(REGISTERS, registers, strict=True))
            lanes.append(
                asdict(stop)
                | {"cause": stop.cause.name.lower() if stop.cause is not None else None, "done": stop.done}
                | {"outputs": outputs, "registers": {name: value for name, value in named.items() if value}}
            )
        return {
            "program": str(self.program),
            "engine": machine.engine,
            "ticks": machine.ticks,
            "instructions": sum(lane["instructions"] for lane in lanes),
            "seconds": seconds,
            "ticks_per_second": machine.ticks / seconds,
            "lanes": lanes,
        }


@dataclass(frozen=True, kw_only=True)
class ChipTest:
    """Run RISC-V's official tests of the base integer instructions (rv32ui) on the core that is a network.

    All at once, each a lane. Needs riscv64-unknown-elf-gcc. Exit status 1 if one fails."""

    folder: tyro.conf.Positional[Path]
    """A checkout of github.com/riscv-software-src/riscv-tests."""
    engine: str | None = None
    """Who computes the ticks, as of `chip run`."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> int:
        """Compile and run them. Exit status 1 if one fails that is not declared out."""
        from holdfast.chip.riscv_tests import GP, MOST_TICKS, build_tests, result

        engine, programs = _engine(self.engine), build_tests(self.folder)

        from holdfast.chip.machine import Machine
        from holdfast.engines.base import one_thread

        machine = Machine(list(programs.values()), engine=engine)
        began = time.perf_counter()
        with one_thread(), _progress(f"running {len(programs)} tests", MOST_TICKS) as watch:
            machine.run(MOST_TICKS, watch)
        seconds = time.perf_counter() - began
        counts = machine.registers_B32[:, GP].tolist()
        tests = [
            {"name": name, "result": result(name, stop, gp), "why": stop.why, "ticks": stop.ticks}
            for name, stop, gp in zip(programs, machine.stops(), counts, strict=True)
        ]
        results = [test["result"] for test in tests]
        record = {
            "passed": results.count("passed"),
            "declared_out": results.count("declared out"),
            "failed": results.count("failed"),
            "total": len(tests),
            "engine": machine.engine,
            "ticks": machine.ticks,
            "seconds": seconds,
            "tests": tests,
        }
        print(json.dumps(record) if self.json else _said_of_tests(record))
        return 1 if record["failed"] else 0


@dataclass(frozen=True, kw_only=True)
class Chip:
    """A processor (RV32I) that is a network: run a program on it, or the official tests."""

    what: tyro.conf.OmitSubcommandPrefixes[
        Annotated[ChipRun, tyro.conf.subcommand("run")] | Annotated[ChipTest, tyro.conf.subcommand("test")]
    ]

    def run(self) -> int:
        """Do it; the exit status."""
        return self.what.run()


def _engine(named: str | None) -> str:
    """That, or the fastest that is there."""
    from holdfast.chip.engines.by_name import fastest, refuse_unknown

    if named is not None:
        refuse_unknown(named)
        return named
    engine = fastest()
    if engine == "network":
        print(
            "holdfast: the engine is network; bits is some 50 times as fast, and needs numba: "
            'pip install "holdfast[encrypted]"',
            file=sys.stderr,
        )
    return engine


def _number(option: str, text: str) -> int:
    from holdfast.errors import UsageError

    try:
        return int(text, 0)
    except ValueError:
        raise UsageError(f"--{option} takes a whole number, such as 65536 or 0x1_0000; got {text!r}.") from None


@contextmanager
def _between_ticks() -> Iterator[Callable[[], None]]:
    """Ctrl-C is kept for when this is asked, so that it finds all lanes at the same tick."""
    came: list[int] = []

    def interrupted() -> None:
        if came:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _progress(what: str, cycles: int) -> Iterator[Callable[[int], None]]:
    """To be told of ticks: a bar on standard error, or a line every ten seconds where that is no terminal."""
    if not sys.stderr.isatty():
        spoke = time.monotonic()

        def say(ticks: int) -> None:
            nonlocal spoke
            if time.monotonic() - spoke >= PLAIN_EVERY_S:
                spoke = time.monotonic()
                print(f"{what}: {ticks:,} of {cycles:,} ticks at most", file=sys.stderr, flush=True)

        yield say
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("ticks at most,"))
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, auto_refresh=False, transient=True) as bar:
        task, drawn = bar.add_task(what, total=cycles), 0.0

        def draw(ticks: int) -> None:
            nonlocal drawn
            if time.monotonic() - drawn >= 0.1:
                drawn = time.monotonic()
                bar.update(task, completed=ticks, refresh=True)

        yield draw


def _said(record: dict[str, Any]) -> str:
    lanes = record["lanes"]
    rate = f"{record['ticks_per_second']:,.0f} a second"
    if len(lanes) > 1:
        rate += f", {len(lanes) * record['ticks_per_second']:,.0f} of all lanes"
    lines = [
        f"ticks         {record['ticks']:,} in {record['seconds']:.2f} s: {rate} (engine {record['engine']})",
        f"instructions  {record['instructions']:,}",
    ]
    alike: dict[str, list[int]] = {}
    for at, lane in enumerate(lanes):
        outputs = " ".join(map(str, lane["outputs"])) or "none"
        held = "  ".join(f"{name} {value:#x}" for name, value in lane["registers"].items()) or "all 0"
        why = f"{lane['why']}, tick {lane['ticks']:,}"
        said = f"stopped       {why}\noutputs       {outputs}\nregisters     {held}"
        alike.setdefault(said, []).append(at)
    for said, which in alike.items():
        if len(lanes) > 1:
            named = f"lane {which[0]}" if len(which) == 1 else f"{len(which)} lanes ({which[0]} to {which[-1]})"
            lines.append(f"{named}:")
        lines.append(said)
    return "\n".join(lines)


def _said_of_tests(record: dict[str, Any]) -> str:
    lines = [
        f"{test['name']:<10} {test['result']}" + ("" if test["result"] == "passed" else f": {test['why']}")
        for test in record["tests"]
    ]
    counts = f"{record['passed']} of {record['total']} passed, {record['declared_out']} declared out, "
    how = f"in {record['ticks']:,} ticks (engine {record['engine']})"
    return "\n".join(lines) + f"\n{counts}{record['failed']} failed, {how}"
