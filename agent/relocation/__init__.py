"""Moving this machine to another server: the trial, and the record of the move."""
