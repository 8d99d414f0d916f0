"""When something is due, and the process that it runs in."""
