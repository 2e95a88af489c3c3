"""The alert rules, a file each; see `ingestor.alerts.rule`."""
