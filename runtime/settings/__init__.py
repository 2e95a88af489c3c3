"""Settings of each part: one model per module, so that a process imports only its own.

Precedence: command line, environment (`DASHFLEET_<PART>_<FIELD>`), configuration file (a TOML table per part), default.

Invariants:
- An invalid setting stops the start with a sentence naming it (SettingsError); values are never guessed or corrected.
- A secret, including a password in a database URL, comes from the environment or from a file with mode 0600, never
  from the command line, and never appears in a repr, a log or a traceback.
- Reading settings needs no library but pydantic, since every part keeps in memory what its start has imported.
"""
