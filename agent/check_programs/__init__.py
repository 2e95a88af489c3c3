"""Checks that the owner of a machine adds: running programs, reading their output, and text files."""
