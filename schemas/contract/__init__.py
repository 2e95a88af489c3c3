"""The public contract: topics, messages, orders, signatures."""
