"""Subjects that are wrong on purpose: what every law must be able to catch."""
