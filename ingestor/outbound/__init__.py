"""From committed changes to published messages: the outbound queue, acknowledgements, message encoding."""
