"""One file per action: drop one in and operators can order it, where its owner allows it (see `agent.action`)."""
