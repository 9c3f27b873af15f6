"""Hosts: the networks."""

from holdfast.hosts.cnn import CNN
from holdfast.hosts.gpt import GPT
from holdfast.hosts.hugging_face import HuggingFace
from holdfast.hosts.logic import Logic
from holdfast.hosts.mlp import LENET_300_100, MLP

__all__ = ["CNN", "GPT", "LENET_300_100", "MLP", "HuggingFace", "Logic"]
