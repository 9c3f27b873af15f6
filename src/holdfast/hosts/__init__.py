"""Hosts: the networks."""

from holdfast.hosts.hugging_face import HuggingFace
from holdfast.hosts.mlp import MLP

__all__ = ["MLP", "HuggingFace"]
