"""MySQL, piece by piece; `asgard.connectors.mysql` puts them together."""
