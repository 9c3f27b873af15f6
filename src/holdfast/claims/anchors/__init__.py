"""Published figures, computed anew in their sources' own settings."""
