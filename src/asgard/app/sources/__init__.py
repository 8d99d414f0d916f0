"""Wishes about sources, and how a stream of one is read."""
