"""The front door: one function per wish; loads the project and picks who serves it."""
