"""The sources of the timeline: one file each."""
