"""The message plane: an embedded broker, who may do what on it, and the transport that every part talks through."""
