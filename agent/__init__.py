"""On each machine: measure, queue on disk, publish, and take commands."""
