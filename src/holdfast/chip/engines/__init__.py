"""Three ways to compute a machine's ticks, which agree tick by tick."""
