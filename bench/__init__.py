"""Figures, ours and others', made on this machine: `python -m bench`, or `make bench`."""
