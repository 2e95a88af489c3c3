"""The client side of MQTT: the transport protocol, its implementations, and two clients built on it."""
