"""Random circuits for hypothesis, and values by plain Python, one input at a time."""

from hypothesis import strategies as st

from holdfast.circuits.builder import Builder


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
