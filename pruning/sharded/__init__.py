"""Sharded models: scored and pruned where their parts lie, one layer whole at a time, by all processes together."""
