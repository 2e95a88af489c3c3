"""Names of what `dashfleet up` creates first."""

ORG = "home"
ADMIN = "admin"
