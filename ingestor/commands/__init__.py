"""Commands: from an operator's request to the messages that machines receive."""
