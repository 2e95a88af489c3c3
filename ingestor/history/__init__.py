"""History: roll-ups, retention, and the partitions of samples."""
