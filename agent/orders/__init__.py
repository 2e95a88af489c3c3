"""Orders: validated, journalled before they run, executed once, reported until acknowledged."""
