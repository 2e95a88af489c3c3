"""The read side of the fleet's database, shared by the command line, the dashboard and reports."""
