"""Sending through services: addresses that are allowed, Apprise, signed webhooks, one queue per destination."""
