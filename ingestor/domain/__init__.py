"""Pure domain logic: machines, presence, commands, rollouts, incidents. No SQL, no transport, no clock."""
