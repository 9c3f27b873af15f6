"""Random circuits for hypothesis, values by plain Python one input at a time, and the circuit as AIGER."""

from hypothesis import strategies as st

from holdfast.circuits.builder import Builder
from holdfast.circuits.netlist import AND, INPUT, XOR


@st.composite
def netlists(draw, most_inputs=6, most_gates=25):
    """Gates and adders over literals that are there already, some of them constants; outputs may be anything."""
    builder = Builder()
    literals = [0, 1, *builder.input("x", draw(st.integers(1, most_inputs)))]

    def some():
        return draw(st.sampled_from(literals)) ^ draw(st.booleans())

    for _ in range(draw(st.integers(1, most_gates))):
        kind = draw(st.sampled_from(["and", "xor", "or", "mux", "most", "add"]))
        if kind == "add":
            width = draw(st.integers(1, 5))
            literals += builder.add([some() for _ in range(width)], [some() for _ in range(width)], some())
        elif kind in ("mux", "most"):
            literals.append({"mux": builder.choose, "most": builder.most}[kind](some(), some(), some()))
        else:
            gate = {"and": builder.both, "xor": builder.differ, "or": builder.either}[kind]
            literals.append(gate(some(), some()))
    outputs = [some() for _ in range(draw(st.integers(1, 6)))]
    return builder.netlist("random", [("y", outputs)])


def by_hand(netlist, bits):
    """Outputs for one input, gate by gate, with Python's integers for sums."""
    value = dict(zip((bit >> 1 for bit in netlist.input_bits), map(int, bits), strict=True)) | {0: 0}

    def of(literal):
        return value[literal >> 1] ^ (literal & 1)

    for node, (kind, left, right) in enumerate(netlist.rows()):
        if kind == 1:
            value[node] = of(left) & of(right)
        elif kind == 2:
            value[node] = of(left) ^ of(right)
        elif kind == 3:
            adder = netlist.adders[left]
            word = lambda literals: sum(of(bit) << i for i, bit in enumerate(literals))
            value[node] = word(adder.a) + word(adder.b) + of(adder.carry) >> right & 1
    return [of(bit) for bit in netlist.output_bits]


def as_aiger(netlist, binary):
    """AND gates in AIGER's numbering, written here and not in the library, which only reads it."""
    literal = {0: 0} | {bit >> 1: 2 * (i + 1) for i, bit in enumerate(netlist.input_bits)}
    gates, top = [], len(netlist.input_bits)

    def gate(x, y):
        nonlocal top
        top += 1
        gates.append((2 * top, max(x, y), min(x, y)))
        return 2 * top

    of = lambda bit: literal[bit >> 1] ^ (bit & 1)
    xor = lambda x, y: gate(gate(x, y) ^ 1, gate(x ^ 1, y ^ 1) ^ 1)
    for node, (kind, left, right) in enumerate(netlist.rows()):
        if kind == AND:
            literal[node] = gate(of(left), of(right))
        elif kind == XOR:
            literal[node] = xor(of(left), of(right))
        elif kind != INPUT:
            adder = netlist.adders[left]
            carry = of(adder.carry)
            for i, (x, y) in enumerate(zip(adder.a, adder.b, strict=True)):
                x, y = of(x), of(y)
                if i == right:
                    break
                carry = gate(gate(x, y) ^ 1, gate(carry, gate(x ^ 1, y ^ 1) ^ 1) ^ 1) ^ 1
            literal[node] = carry if right == adder.width else xor(xor(x, y), carry)
    inputs, outputs = len(netlist.input_bits), [of(bit) for bit in netlist.output_bits]
    head = f"{'aig' if binary else 'aag'} {top} {inputs} 0 {len(outputs)} {len(gates)}\n"
    named = lambda side, port, count: [f"{side}{i} {port}" + f"[{i}]" * (count > 1) + "\n" for i in range(count)]
    symbols = "".join([*named("i", "x", inputs), *named("o", "y", len(outputs)), "c\nmade by a test\n"])
    outs = "".join(f"{o}\n" for o in outputs)
    if not binary:
        ins = "".join(f"{2 * (i + 1)}\n" for i in range(inputs))
        return (head + ins + outs + "".join(f"{g} {x} {y}\n" for g, x, y in gates) + symbols).encode()

    def delta(n):
        found = bytearray()
        while n > 127:
            found.append(n & 127 | 128)
            n >>= 7
        return bytes([*found, n])

    body = b"".join(delta(g - x) + delta(x - y) for g, x, y in gates)
    return (head + outs).encode() + body + symbols.encode()
