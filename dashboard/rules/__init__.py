"""The page of alert rules: the form, the preview, and the rules of a machine."""
