"""Tables of the lake as Delta keeps them: a log of commits beside the files."""
