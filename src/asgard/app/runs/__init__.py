"""Wishes about runs, and what they tell."""
