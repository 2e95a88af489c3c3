"""Commands: requests from principals, rollouts, dispatch to machines, desired configurations."""
