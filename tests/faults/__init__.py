"""Faults: what breaks, where, and what becomes of the data. docs/explanation/faults.md has the table."""
