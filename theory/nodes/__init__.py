"""Nodes: what laws of modules read at single operators: local flows, ways between them, norms, attention heads."""
