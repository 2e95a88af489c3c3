"""The contract in a form that programs read, generated from topics and messages."""
