"""Reading facts: the lists of a machine, the items of a fleet, and what changed in them."""
