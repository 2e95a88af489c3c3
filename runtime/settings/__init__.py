"""Settings of each part: one model per module, so that a process imports only its own.

Precedence: command line, environment (`DASHFLEET_<PART>_<FIELD>`), configuration file (a TOML table per part), default.

Invariants:
- An invalid setting stops the start with a sentence naming it (SettingsError); values are never guessed or corrected.
- A secret, including a password in a database URL, comes from the environment or from a file with mode 0600, never
  from the command line, and never appears in a repr, a log or a traceback.
- The models are plain pydantic. pydantic-settings is imported only to read the sources (`loading`), so that the agent,
  which inherits its settings resolved, does not keep it in memory.
"""
