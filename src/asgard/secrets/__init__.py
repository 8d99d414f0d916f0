"""Where credentials rest: our own encrypted store, and the stores of others."""
