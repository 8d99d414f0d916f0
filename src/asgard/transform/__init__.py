"""Which model needs which, and in what order they are built."""
