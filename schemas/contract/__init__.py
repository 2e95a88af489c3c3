"""The contract: topics, messages, orders, signatures. Everything that travels."""
