"""Queries of alert rules: the rules, those that apply to a machine, and the preview of one."""
