"""Kafka, piece by piece; `asgard.connectors.kafka` puts them together."""
