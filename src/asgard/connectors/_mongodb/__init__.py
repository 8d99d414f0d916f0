"""MongoDB, piece by piece; `asgard.connectors.mongodb` puts them together."""
