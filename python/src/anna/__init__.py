"""Anna, the store of lattices: ``anna.lattices`` and ``anna.client``."""
