"""The chaos suite: a whole installation under seeded faults, and then the books. Run it with `make chaos`."""
