"""Redshift, piece by piece; `asgard.connectors.redshift` puts them together."""
