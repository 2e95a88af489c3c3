"""Pure rules of a fleet: health, ledger, ranges, history, availability, forecast, settings."""
