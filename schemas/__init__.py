"""What the parts agree on: what travels, where it travels, what is stored, and how a machine is judged."""
