"""Files for machines: answers their requests for parts of a file, beside the intake and at a limited rate."""
