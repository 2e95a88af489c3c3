"""The alert rules, one per file; see `ingestor.alerts.rule`."""
