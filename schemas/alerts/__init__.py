"""Evaluation of alert rules: pure functions shared by the ingestor, the dashboard and the command line."""
