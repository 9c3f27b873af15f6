"""Kunstner et al. 2024 (arXiv 2402.19449): how fast a linear model learns a class, by how often it occurs.

Shapes: C classes, as many as contexts.
"""

from typing import Literal

import numpy as np

CLASSES = 64
START = 4.0
"""Logit of the wrong answer that each context begins with."""
LEARNED = 0.1
"""Cross-entropy of a context under which it counts as learned."""
SETTINGS = {"GD": (4.0, 200_000), "sign": (0.02, 2_000)}
"""Learning rate, and steps at most."""


def imbalance(optimiser: Literal["GD", "sign"]) -> float:
    """The exponent s in T ~ frequency^-s for full-batch training of a softmax regression with one-hot inputs.

    Class c occurs with frequency proportional to 1/c. Each input has a column of logits of its own, so the loss falls
    apart into contexts, whose gradients are scaled by their frequencies: under gradient descent time is stretched by
    1/frequency (s = 1), under sign descent not at all (s = 0). No randomness.
    """
    lr, most = SETTINGS[optimiser]
    frequency_C = 1 / np.arange(1, CLASSES + 1)
    frequency_C /= frequency_C.sum()
    logits_CC = np.zeros((CLASSES, CLASSES))
    logits_CC[np.arange(CLASSES), (np.arange(CLASSES) + 1) % CLASSES] = START
    learned_C = np.zeros(CLASSES)
    eye_CC = np.eye(CLASSES)
    for step in range(1, most + 1):
        p_CC = np.exp(logits_CC - logits_CC.max(1, keepdims=True))
        p_CC /= p_CC.sum(1, keepdims=True)
        learned_C[(np.diag(p_CC) > np.exp(-LEARNED)) & (learned_C == 0)] = step
        if learned_C.all():
            break
        gradient_CC = frequency_C[:, None] * (p_CC - eye_CC)
        logits_CC -= lr * (gradient_CC if optimiser == "GD" else np.sign(gradient_CC))
    done_C = learned_C > 0
    return float(-np.polyfit(np.log(frequency_C[done_C]), np.log(learned_C[done_C]), 1)[0])
