"""Discovery: every constant linear law of an architecture, by the null space of sampled scores."""
