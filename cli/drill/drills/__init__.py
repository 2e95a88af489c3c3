"""The drills, a file each: `DRILL` says what it does."""
