"""Child processes: programs that are run, and copies of this process."""
