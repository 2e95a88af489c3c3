"""What the problems page consists of."""
