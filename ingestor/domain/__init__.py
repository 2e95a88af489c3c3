"""Pure rules and records: presence, commands, rollouts, incidents. No SQL, no transport, no clock."""
