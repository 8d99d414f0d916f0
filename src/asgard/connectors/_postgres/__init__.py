"""PostgreSQL, piece by piece; `asgard.connectors.postgres` puts them together."""
