"""The contests, one file each."""
