"""Training K networks at once."""
