"""Several ingestors on one fleet: leases, and how they divide the work."""
