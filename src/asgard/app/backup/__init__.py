"""Backups: one file with what a project remembers, and the way back from it."""
