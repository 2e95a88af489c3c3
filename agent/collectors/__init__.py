"""A file per collector: a new file is enough to send, store and show its metrics (see `agent.collector`)."""
