"""SQLite, piece by piece; `asgard.connectors.sqlite` puts them together."""
