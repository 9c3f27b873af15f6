"""A picture of the chip as layers: every unit of one tick as a dot, by what it computes.

    python benchmarks/chip_layers.py docs/chip.svg

Read off the compiled network: a unit is a *sum's carry* if it reads a sum of many bits (weights that are not all 2),
else a *product of bits*; and it is named by what it reads and where it goes.
"""

import argparse
import re
from collections import defaultdict
from dataclasses import dataclass
from html import escape
from pathlib import Path

from holdfast.chip.compiled import compiled_core
from holdfast.circuits import Network

ROW = 44
"""Dots in a row of a group."""
DOT, GAP, TOP, LEFT, COLUMN = 4, 20, 74, 150, 196
HUES = {"product": "#33658a", "carry": "#d1495b"}


@dataclass(frozen=True)
class Unit:
    level: int
    kind: str
    reads: frozenset[str]
    """Ports, and levels as L1, L2, ...; through rows without relu."""
    outputs: frozenset[str]
    """Ports that it goes to without another unit between."""


def units(tick: Network) -> list[Unit]:
    ports = {bit: port.name.split("[")[0] for port in tick.input_ports for bit in port.bits}
    starts, indices, weights = tick.starts.tolist(), tick.indices.tolist(), tick.weight.tolist()
    relu, level = tick.relu.tolist(), tick.level.tolist()
    first = tick.inputs
    goes: dict[int, set[str]] = defaultdict(set)
    for port in tick.output_ports:
        for bit in port.bits:
            goes[bit].add(re.sub(r"\[\d+\]", "", port.name))
    reads: list[set[str]] = []
    for row in range(len(relu)):
        found: set[str] = set()
        for at in indices[starts[row] : starts[row + 1]]:
            if at < first:
                found.add(ports[at])
            elif relu[at - first]:
                found.add(f"L{level[at - first]}")
            else:
                found |= reads[at - first]
        reads.append(found)
    for row in reversed(range(len(relu))):
        if not relu[row]:  # rows are in order, so whoever reads this one has been seen
            for at in indices[starts[row] : starts[row + 1]]:
                goes[at] |= goes[first + row]
    found_units = []
    for row in range(len(relu)):
        if relu[row]:
            plain = all(abs(w) == 2 for w in weights[starts[row] : starts[row + 1]])
            kind = "product" if plain else "carry"
            found_units.append(Unit(level[row], kind, frozenset(reads[row]), frozenset(goes[first + row])))
    return found_units


def named(unit: Unit) -> str:
    """What a unit is, in words."""
    reads, outputs = unit.reads, unit.outputs
    if unit.level == 1:
        if unit.kind == "carry":
            return "pc + 4"
        if "registers" in reads:
            return "two registers are read"
        return "the word that was loaded" if "rdata" in reads else "what the instruction says"
    if "registers'" in outputs:
        return "a register keeps its word" if "registers" in reads else "a register is written"
    if "pc'" in outputs:
        return "the next pc"
    if unit.kind == "carry":
        return "sums and comparisons"
    if outputs & {"wdata", "strobe", "read", "address"}:
        return "what is stored, and where"
    return {2: "shifts and logic", 3: "halves of sums, jumps", 4: "which result"}.get(unit.level, "whether it stops")


def drawn(tick: Network) -> str:
    groups: dict[int, dict[tuple[str, str], int]] = defaultdict(lambda: defaultdict(int))
    for unit in units(tick):
        groups[unit.level][named(unit), unit.kind] += 1
    parts, width, bottom = [], LEFT + COLUMN * len(groups) + 120, TOP
    text = 'font-family="sans-serif" font-size="11" fill="#222"'
    for at, (level, held) in enumerate(sorted(groups.items())):
        x, y = LEFT + COLUMN * at, TOP
        total = sum(held.values())
        parts.append(f'<text x="{x}" y="{TOP - 34}" {text} font-weight="bold">layer {level}: {total:,} units</text>')
        for (name, kind), count in sorted(held.items(), key=lambda item: -item[1]):
            parts.append(f'<text x="{x}" y="{y}" {text}>{escape(name)}: {count:,}</text>')
            for dots, row in ((ROW * (count >= ROW), 0), (count % ROW, count // ROW)):
                high = count // ROW if row == 0 and dots == ROW else 1
                parts.append(
                    f'<rect x="{x}" y="{y + DOT * (1 + row)}" width="{DOT * dots}" height="{DOT * high}" '
                    f'fill="url(#{kind})"/>'
                )
            y += DOT * (1 + -(-count // ROW)) + GAP
            bottom = max(bottom, y)
    registers = sum(len(port.bits) for port in tick.input_ports if port.name.startswith("registers"))
    state = [
        "state, as bits", f"registers: {registers:,}", "pc: 32", "what it waits for: 8", "",
        "from memory", "instruction: 32", "loaded word: 32", "",
        "ROM: a row of units,", "one for each word,", "1 at its address; what", "is read are their",
        "weights: the program", "",
        "RAM: state, written", "by products of bits",
    ]  # fmt: skip
    end = LEFT + COLUMN * len(groups)
    for line, words in enumerate(state):
        weight = ' font-weight="bold"' if line in (0, 5) else ""
        parts.append(f'<text x="10" y="{TOP + 15 * line}" {text}{weight}>{escape(words)}</text>')
    for line, words in enumerate(
        ("the next state,", "and what is asked", "of memory: all of", "it goes round", "again, tick by tick")
    ):
        parts.append(f'<text x="{end}" y="{TOP + 15 * line}" {text}>{escape(words)}</text>')
    neurons, weights = int(tick.relu.sum()), len(tick.weight)
    head = (
        f"One tick of an RV32I core: {len(groups)} layers, {neurons:,} units (a dot each), {weights:,} weights. "
        f"Blue: products of bits. Red: carries of sums."
    )
    parts.append(f'<text x="10" y="20" {text} font-weight="bold">{head}</text>')
    dots = "".join(
        f'<pattern id="{kind}" width="{DOT}" height="{DOT}" patternUnits="userSpaceOnUse">'
        f'<rect width="{DOT - 1}" height="{DOT - 1}" fill="{hue}"/></pattern>'
        for kind, hue in HUES.items()
    )
    bottom = max(bottom, TOP + 15 * len(state))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {bottom + 10}" role="img"><title>{head}</title>'
        f'<defs>{dots}</defs><rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("to", type=Path, help="the file, .svg")
    path = parser.parse_args().to
    path.write_text(drawn(compiled_core().tick), encoding="utf-8")
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
