"""Series at rest: blocks of readings per machine and hour, and their roll-ups. Pure functions."""
