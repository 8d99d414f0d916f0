"""Who is told: logs, metrics, lineage. Listens only."""
