"""Principals, their credentials, and the rules that decide which topics they may use."""
