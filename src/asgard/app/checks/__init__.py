"""Wishes about checks, contracts, suites and their reports."""
