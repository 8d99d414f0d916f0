"""Protocols that connectors, engines and the lake share."""
