"""Events of a fleet for the timeline."""
