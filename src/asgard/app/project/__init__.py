"""A project, opened: its lake, its engine, its environments, its health."""
