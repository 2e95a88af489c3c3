"""Actions as those who order them see them: offers, arguments, plans, and the commands that owners name."""
