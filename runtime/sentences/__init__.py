"""Sentences for people about what was refused, the same in every part."""
