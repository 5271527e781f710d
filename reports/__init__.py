"""Words and pictures about verdicts, and the command."""
