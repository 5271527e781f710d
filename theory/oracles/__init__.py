"""Second opinions in exact fractions: plain Python that shares no code with what it checks, nor file with file."""
