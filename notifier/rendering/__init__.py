"""The text of messages: languages, templates, and the document for programs."""
