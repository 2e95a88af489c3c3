"""Lists of the fleet's database, read page by page: a page begins after the key of the last row of the one before, so
that rows that are added meanwhile are neither repeated nor cause others to be skipped.
"""
