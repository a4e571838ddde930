"""How fast the engine is, as ratios to named baselines measured in the same run on the same programs."""
