"""Receives what machines publish, stores it, and decides who is online."""
