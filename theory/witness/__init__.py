"""Witnesses: failing problems made small, kept in files, and shown as scripts of their own."""
