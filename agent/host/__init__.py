"""Reading the system, where psutil alone is not enough: containers, caches, file systems that are full by design."""
