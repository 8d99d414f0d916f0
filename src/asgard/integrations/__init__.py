"""Other people's schedulers and engines ask: they only translate."""
