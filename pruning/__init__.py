"""The reference pruning engine: masks, schedules, networks, pruners. Knows no law."""
