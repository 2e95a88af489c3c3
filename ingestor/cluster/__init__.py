"""Several ingestors on one fleet: leases, and the assignment of work."""
