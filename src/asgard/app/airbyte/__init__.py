"""Wishes to an Airbyte server."""
