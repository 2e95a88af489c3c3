"""Installation of the agent on this machine: environment, user, service, enrolment, and their removal."""
