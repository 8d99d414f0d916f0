"""Wishes about secrets of the project's own store."""
