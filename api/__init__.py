"""Nightdesk's HTTP face: it validates, calls `worker.flow` and `worker.store`, and renders; it decides nothing else."""
