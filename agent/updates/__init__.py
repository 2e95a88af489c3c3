"""Updates of the agent by order: a new environment beside the old one, tried, and committed or given up."""
