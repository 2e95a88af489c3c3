"""One file per collector: drop one in and its metrics are sent, stored and shown (see `agent.collector`)."""
