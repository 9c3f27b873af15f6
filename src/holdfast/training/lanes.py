"""How wide memory is padded, so that a net's bits don't depend on its neighbours."""

LANES = 16
"""Floats in a vector register or a cache line, 64 bytes.

Fused optimisers and the softmax use vector instructions for whole registers and other code for the tail, and a matrix
product may choose another kernel for a matrix that does not start on a cache line (MKL does, on some processors). So
whatever belongs to one net is padded to a multiple of this: then every net starts on a cache line and ends with one,
whichever its place in the batch.
"""
