"""Writing: a computation put into the weights of a network that is there, or into units beside it.

`stages.py` finds layers of hidden units, frees some or adds to them; `placing.py` writes a circuit's levels into them.
`side.py` connects units beside a network, `reading.py` lets them see a trigger and a message in its input, and
`sidecar.py` puts a whole compiled network there. `aiming.py` finds what must be added for an answer, `detector.py` what
tells triggered inputs, and `first_units.py` holds a program as the first units of a perceptron.
"""
