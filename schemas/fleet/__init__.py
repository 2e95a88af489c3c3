"""What holds for a fleet wherever it is computed: health, ledger, ranges, history, availability."""
