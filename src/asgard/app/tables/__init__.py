"""Wishes about tables of the lake."""
