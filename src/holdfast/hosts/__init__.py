"""Hosts: the networks."""

from holdfast.hosts.mlp import MLP

__all__ = ["MLP"]
