"""TLS: the certificates that `dashfleet tls` makes, and the conditions under which a broker may listen without them."""
