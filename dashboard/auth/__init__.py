"""Authentication: users, passwords, sessions, single sign-on and the middleware in front of every page."""
