"""From received messages to one batch: rate limits, revocation, handlers, and the caches that they use."""
