"""Plant a computation in a network, train the network, and see whether it held."""
