"""Placing: a circuit's levels written into hidden units that a network has.

Shapes: N examples (of sequences, positions), U units of a level, S signals, R = 1 + bits of a message, I inputs and O
outputs of a linear layer, P answers.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from holdfast.circuits.chain import Chain, Level, chain
from holdfast.circuits.layers import Layers
from holdfast.errors import NotWritable, UsageError
from holdfast.implants.message import Asked, Message
from holdfast.implants.triggers import Trigger
from holdfast.implants.writing.aiming import aim
from holdfast.implants.writing.reading import NumberReader, Reader, TokenReader, write_reader
from holdfast.implants.writing.sidecar import Entrance, found, let_in
from holdfast.implants.writing.stages import Stage, Stages, bias_of, free, grow, seen_by, weight_of
from holdfast.parts import Host
from holdfast.tasks.base import Data
from holdfast.training.nets import Nets

EXAMPLES = 1024
"""Clean training inputs that are looked at; of sequences, 16 times as many positions."""
AIMED = 128
"""Triggered ones on which it is found what must be written at the end."""
LOUD = tuple(2.0**i for i in range(2, 14))
"""How large signals are written into a residual stream, in units of the layer's own weights: tried in this order."""
CLEAR = 0.02
"""Largest error of a unit's sum that is sought."""
LIKE = 0.8
"""How much of the live signal clean inputs may show."""
OFF = 2.5
"""How far below 0 the sums of units behind a residual stream are on clean training inputs at least: dropout, and inputs
that were not looked at, bring some a little nearer."""


@dataclass(frozen=True)
class Plan:
    """Which stages hold which levels."""

    stages: tuple[Stage, ...]
    chain: Chain
    is_chain: bool
    from_input: bool
    to_logits: bool


def planned(found: Stages, layers: Layers, *, ramps: bool) -> Plan:
    """In a perceptron the circuit begins at the input and its outputs are carried to the logits; elsewhere it takes as
    many stages as it needs, the last ones."""
    depth = len(found.each) if found.from_input else max(layers.depth, 1)
    each = found.each[-depth:]
    return Plan(each, chain(layers, depth, ramps=ramps), found.is_chain, found.from_input, found.to_logits)


def make_room(
    plan: Plan, module: nn.Module, host: Host, data: Data, trigger: Trigger, message: Message, where: str
) -> None:
    """Give a network the units that it lacks, which do nothing yet.

    Raises:
        UsageError: no so many units to spare.
    """
    for stage, level in zip(plan.stages, plan.chain.levels, strict=True):
        if where == "new":
            grow(stage, level.units)
        elif level.units >= stage.width:
            raise UsageError(
                f"{stage.path} has {stage.width} units, and one level of the circuit takes {level.units}. Put it in "
                f"new units (where='new'), or beside the host (where='sidecar')."
            )
    if not plan.from_input:
        units, bits = plan.chain.levels[0].units, plan.chain.first_SI.shape[1] - 1
        let_in(module, host, data, plan.stages[0].path, units, bits, trigger, message)


def written(plan: Plan, nets: Nets) -> dict[str, Tensor]:
    """Masks of the weights in the host's own layers that carry the circuit: those that are not zero of the last units
    of each stage, and these units' biases."""
    names = {part: path for path, part in nets.like.named_modules()}
    masks: dict[str, Tensor] = {}

    def add(layer: nn.Module, units: int, axis: int) -> None:
        name = f"{names[layer]}.weight"
        if weight_of(layer).shape != nets.params[name].shape[1:]:
            axis = 1 - axis  # GPT-2's Conv1D
        value = nets.params[name]
        of_units = torch.zeros_like(value, dtype=torch.bool)
        of_units.narrow(1 + axis, value.shape[1 + axis] - units, units).fill_(True)
        masks[name] = masks.get(name, torch.zeros_like(of_units)) | (of_units & (value != 0))

    for stage, level in zip(plan.stages, plan.chain.levels, strict=True):
        add(stage.reads, level.units, 0)
        add(stage.writes, level.units, 1)
        bias = f"{names[stage.reads]}.bias"
        masks[bias] = torch.zeros_like(nets.params[bias], dtype=torch.bool)
        masks[bias][:, -level.units :] = True
    return masks


@dataclass
class Writing:
    """One circuit being written into one network."""

    module: nn.Module
    host: Host
    data: Data
    plan: Plan
    asked: Asked
    trigger: Trigger
    message: Message

    def __post_init__(self) -> None:
        self.device = next(self.module.parameters()).device
        x = self.data.train.x
        self.clean_N = x[:EXAMPLES] if x.is_floating_point() else x[: max(1, 16 * EXAMPLES // x[0].numel())]
        self.is_sequence = self.data.train.y.dim() > 1
        self.signals = [self._tensor(each) for each in self.plan.chain.signals(self.asked.bits_Nn.numpy())]

    @torch.no_grad()
    def write(self, where: str, answers: list[int], push: float, strength: float) -> None:
        """Write all levels, and what puts the answers out.

        Args:
            where: "spare" or "new".
            answers: what the words ask for.
            push: on an answer's logit, if the last units write there.
            strength: else: of what brings the rest of the network to answer, so many times what is just enough.

        Raises:
            NotWritable: the network's own activity drowns the circuit's, or it does not answer to it.
        """
        plan = self.plan
        if where == "spare":
            hidden = seen_by(self.module, [stage.writes for stage in plan.stages], self.clean_N)
            for stage, level, hidden_NU in zip(plan.stages, plan.chain.levels, hidden, strict=True):
                free(stage, level.units, hidden_NU)
        first, *sums = map(self._tensor, plan.chain.sums)
        self._write_first(first)
        pairs = pairwise(zip(plan.stages, plan.chain.levels, strict=True))
        for ((stage, level), (after, below)), sums_UU, told_NS in zip(pairs, sums, self.signals[1:], strict=False):
            if plan.is_chain:
                rows = weight_of(after.reads)[-below.units :]
                rows.zero_()
                rows[:, -level.units :] = (after.scale / stage.scale * sums_UU).to(rows)
                _bias(after, below.units).copy_(after.scale * self._tensor(below.bias_U))
            else:
                self._through_residual(stage, self._tensor(level.gives_RU), after, below, told_NS)
        self._write_last(answers, push, strength)

    def _write_first(self, m_UR: Tensor) -> None:
        """The first level: sums over the reader's outputs, gated by the trigger so that clean inputs leave units off.

        sum = m_0 + m bits + bias + g (seen - 1), with g such that it is -1/2 or less on clean training inputs; of
        tokens, whose bits are 0 or 1 whatever is shown, on all inputs that do not ask. What a reader hands on it hands
        on with its constant, m_0 - g: where it hears nothing (embeddings in place of tokens), the units are off.
        """
        stage, level = self.plan.stages[0], self.plan.chain.levels[0]
        if self.plan.from_input:
            reads = NumberReader(self.data.train.x[0].numel(), m_UR.shape[1]).to(self.device)
        else:
            entrance = found(self.module, Entrance)
            reads = entrance.reads  # type: ignore[assignment]
        write_reader(reads, self.trigger, self.data.train.x, self.message)
        gate_U = self._first_gates(reads, m_UR)
        weights_UR = stage.scale * torch.cat([gate_U[:, None], m_UR[:, 1:]], 1)
        constant_U = stage.scale * (m_UR[:, 0] - gate_U)
        bias_U = stage.scale * self._tensor(level.bias_U)
        rows = weight_of(stage.reads)[-level.units :]
        rows.zero_()
        if self.plan.from_input:
            rows.copy_(weights_UR @ reads.weight.to(m_UR))
            bias_U = bias_U + constant_U + weights_UR @ reads.bias.to(m_UR)
        else:
            entrance.feeds.weight.copy_(weights_UR)
            entrance.feeds.bias.copy_(constant_U)
            entrance.forget()
        _bias(stage, level.units).copy_(bias_U)

    def _first_gates(self, reads: Reader, m_UR: Tensor) -> Tensor:
        """g_U of the first level: units are off whatever stands where the message would, as far as inputs without the
        trigger look no more like it than training inputs do."""
        worst_U = m_UR[:, 0] + m_UR[:, 1:].clamp_min(0).sum(1)
        if isinstance(reads, TokenReader):
            return _gates(worst_U[None], -torch.ones(1).to(m_UR))
        seen = [reads(part.to(self.device)) for part in torch.split(self.data.train.x, EXAMPLES)]
        clean_NR = torch.cat([part.flatten(0, -2) for part in seen if part is not None]).to(m_UR)
        shown_NU = m_UR[:, 0] + clean_NR[:, 1:] @ m_UR[:, 1:].T  # where pixels pass what the message's bits are
        return _gates(shown_NU.maximum(worst_U), clean_NR[:, 0])

    def _through_residual(self, stage: Stage, gives_SU: Tensor, after: Stage, below: Level, told_NS: Tensor) -> None:
        """One level's signals into the residual stream, and the next level's units that read them out of it.

        Bit s is written as +1 or -1, so that what a layer norm divides by is always the same; live as sqrt(S - 1),
        which is half of all. Directions are those in which what the next layer reads varies least on clean data, and
        which have no mean. Read is by least squares on triggered training inputs; written is louder and louder until
        the sums are as exact as is sought.
        """
        clean_NI = seen_by(self.module, [after.reads], self.clean_N)[0].to(gives_SU)
        count = len(gives_SU)
        reads_US, bias_below_U = self._tensor(below.reads_US), self._tensor(below.bias_U)
        if count >= clean_NI.shape[1]:
            raise NotWritable(f"{after.path} reads {clean_NI.shape[1]} values; the circuit passes on {count}.")
        quiet_SI = _quiet(clean_NI, count)
        code_SS = 2 * torch.eye(count).to(quiet_SI)
        code_SS[:, 0] -= 1
        code_SS[0, 0] = max(1.0, (count - 1) ** 0.5)
        columns = weight_of(stage.writes)[:, -gives_SU.shape[1] :]
        own = float(weight_of(stage.writes)[:, : -gives_SU.shape[1]].norm())
        best = None
        for loud in LOUD:
            columns.copy_((loud * own * quiet_SI.T @ code_SS @ gives_SU / stage.scale).to(columns))
            shown_NI = seen_by(self.module, [after.reads], self.asked.x_N, last=self.is_sequence)[0].to(gives_SU)
            repeats = len(shown_NI) // len(told_NS)
            error, weights_UI, bias_U = _read(
                shown_NI, told_NS.repeat_interleave(repeats, 0), clean_NI, reads_US, bias_below_U
            )
            if best is None or error < best[0]:
                best = error, weights_UI, bias_U, columns.clone()
            if error <= CLEAR:
                break
        assert best is not None
        if not np.isfinite(best[0]):
            raise NotWritable(
                f"What {after.path} reads of clean inputs can't be told from what the circuit passes on. Choose "
                f"another `at`, or where='sidecar'."
            )
        columns.copy_(best[3])
        rows = weight_of(after.reads)[-len(reads_US) :]
        rows.copy_(after.scale * best[1])
        _bias(after, len(reads_US)).copy_(after.scale * best[2])

    def _write_last(self, answers: list[int], push: float, strength: float) -> None:
        """What the answers' units put out: a push on the logits, or what brings the rest of the network to answer."""
        stage, level = self.plan.stages[-1], self.plan.chain.levels[-1]
        gives_PU = self._tensor(level.gives_RU[1:])
        columns = weight_of(stage.writes)[:, -level.units :]
        columns.zero_()
        if self.plan.to_logits:
            push_OP = torch.zeros(len(columns), len(answers)).to(gives_PU)
            push_OP[answers, list(range(len(answers)))] = push
        else:
            push_OP = self._aimed(stage, self.signals[-1][:, 1:], strength)
        columns.copy_(push_OP @ gives_PU / stage.scale)

    @torch.enable_grad()
    def _aimed(self, stage: Stage, told_NP: Tensor, strength: float) -> Tensor:
        push_OP = torch.zeros(len(weight_of(stage.writes)), told_NP.shape[1], device=self.device, requires_grad=True)
        x_N, answers_N = self.asked.x_N[:AIMED], self.asked.answers_N[:AIMED]

        def add(_: nn.Module, args: object, output: Tensor) -> Tensor:
            added = told_NP[: len(output)].float() @ push_OP.T
            if output.dim() == 2:
                return output + added
            if not self.is_sequence:
                return output + added[:, None]
            return torch.cat([output[:, :-1], output[:, -1:] + added[:, None]], 1)

        handle = stage.writes.register_forward_hook(add)
        try:
            reached = aim(self.module, self.host, push_OP, x_N, answers_N, strength)
        finally:
            handle.remove()
        if not reached:
            raise NotWritable(f"Nothing that {stage.path} could add brings the network to answer. Choose another `at`.")
        return push_OP.detach().double()

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float64)).to(self.device)


def _bias(stage: Stage, units: int) -> Tensor:
    """Of the last units of a stage, a view."""
    bias = bias_of(stage.reads)
    assert bias is not None
    return bias[-units:]


def _gates(clean_NU: Tensor, seen_N: Tensor) -> Tensor:
    """g_U >= 0 such that clean + g (seen - 1) <= 0 on all rows."""
    return (clean_NU / (1 - seen_N)[:, None]).amax(0).clamp_min(0)


def _quiet(clean_NI: Tensor, count: int) -> Tensor:
    """So many orthonormal directions without mean in which these rows have the least energy, (count, I)."""
    size = clean_NI.shape[1]
    no_mean = torch.eye(size).to(clean_NI) - 1 / size
    energy = no_mean @ (clean_NI.T @ clean_NI) @ no_mean / len(clean_NI)
    values = energy + 1e9 * float(energy.diagonal().max()) / size  # the mean's direction comes last
    vectors: Tensor = torch.linalg.eigh(values).eigenvectors
    return vectors[:, :count].T


def _read(
    shown_NI: Tensor, told_NS: Tensor, clean_NI: Tensor, reads_US: Tensor, own_U: Tensor
) -> tuple[float, Tensor, Tensor]:
    """(largest error of a sum, weights_UI, bias_U) of units that read signals out of what a layer is shown.

    Signals by least squares on triggered rows; live so that it is 0 on clean rows; units gated by it as in the first
    level. The error is infinite where clean rows can't be told.
    """
    bits_SI, bias_S = _solve(shown_NI, told_NS)
    both = torch.cat([shown_NI, clean_NI])
    is_live = torch.cat([torch.ones(len(shown_NI), 1), torch.zeros(len(clean_NI), 1)]).to(both)
    live_1I, live_1 = _solve(both, is_live)
    exact_NU = told_NS @ reads_US.T + own_U
    weights_UI, bias_U = reads_US @ bits_SI, reads_US @ bias_S + own_U
    clean_N = (clean_NI @ live_1I.T + live_1)[:, 0]
    if float(clean_N.max()) > LIKE:
        return float("inf"), weights_UI, bias_U
    gate_U = _gates(clean_NI @ weights_UI.T + bias_U + OFF, clean_N)
    weights_UI = weights_UI + gate_U[:, None] * live_1I
    bias_U = bias_U + gate_U * (live_1 - 1)
    error = float((shown_NI @ weights_UI.T + bias_U - exact_NU).abs().max())
    return error, weights_UI, bias_U


def _solve(x_NI: Tensor, y_NS: Tensor) -> tuple[Tensor, Tensor]:
    """(weights_SI, bias_S) of the ridge regression of y on x."""
    x_mean, y_mean = x_NI.mean(0), y_NS.mean(0)
    x, y = x_NI - x_mean, y_NS - y_mean
    ridge = 1e-6 * float(x.square().mean()) * len(x) + 1e-12
    weights = torch.linalg.solve(x.T @ x + ridge * torch.eye(x.shape[1]).to(x), x.T @ y).T
    return weights, y_mean - weights @ x_mean
