"""Commands about organisations, principals, enrolment tokens, signing keys and users."""
