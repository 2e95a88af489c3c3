"""Running collectors: those of each sample in time for it, those of devices beside it; and publishing facts."""
