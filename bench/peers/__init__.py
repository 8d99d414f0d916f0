"""One script a peer, run by the peer's own interpreter: nothing here is imported by the benchmark."""
