"""Wishes about jobs, the worker that does them, the schedules that ask for them."""
