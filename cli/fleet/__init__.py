"""Facts that machines state, and their messages that were rejected."""
