"""What comes after what: ingest, build, run. Names no system and no format."""
