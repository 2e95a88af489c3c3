"""From received messages to one batch to store: limits, handlers, acknowledgements."""
