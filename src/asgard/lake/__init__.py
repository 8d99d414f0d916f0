"""How our tables lie on disk, in Delta: staged, prepared, committed with their positions, restored."""
