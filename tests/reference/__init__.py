"""Other people's files: `make test-reference`."""
