"""Facts on pages: texts, the sections of the machine page, and the lists of a fleet."""
