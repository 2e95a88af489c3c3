"""Files that the machine fetches from the server, part by part, over its connection to the broker."""
