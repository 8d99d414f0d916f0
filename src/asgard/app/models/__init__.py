"""Wishes about models: what builds them, what they are made of, what would be built."""
