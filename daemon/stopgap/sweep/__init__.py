"""Sweep: files below one folder are found and cleared away, without ever leaving that folder.

It follows no link, crosses no mount point, and enters no folder that is not the operator's to clear: each folder is opened from the
one above it and never by its path, so nobody can put another one in its place.
"""
