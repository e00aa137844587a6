"""Everything that works without a screen: data, methods, objectives, runs, the engine, generation."""
