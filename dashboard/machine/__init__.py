"""The machine page: charts, facts, configuration, decommissioning."""
