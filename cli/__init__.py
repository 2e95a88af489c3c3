"""The commands of `dashfleet`, a file per group."""
