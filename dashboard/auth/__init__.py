"""Sign-in: people, sessions, single sign-on and the middleware in front of every page."""
