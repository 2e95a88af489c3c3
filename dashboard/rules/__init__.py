"""What the page of alert rules consists of."""
