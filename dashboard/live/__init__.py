"""Live readings on the machine page: what it shows every second while somebody looks at it."""
