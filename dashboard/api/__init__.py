"""The HTTP API: read-only, for programs with a token, described by an OpenAPI document made from the models."""
