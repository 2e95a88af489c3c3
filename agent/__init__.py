"""The agent on each machine: sample, queue on disk, publish, and execute orders."""
