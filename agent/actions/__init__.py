"""A file per action: a new file is enough, on machines whose owner allows the action (see `agent.action`)."""
