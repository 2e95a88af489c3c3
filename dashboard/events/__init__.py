"""The timeline: events of a fleet or of one machine, from several sources, in one list."""
