"""The fast path: SynFlow's rounds on what differs alone - classes of positions, live channels, survivors."""
