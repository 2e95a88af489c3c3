"""Adaptors that configure Mosquitto, EMQX and NATS from the table of principals."""
