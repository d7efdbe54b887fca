"""The Gemini-compatible door: the Interactions API itself, answered with jobs.

An unchanged google-genai client whose base URL ends in `/gemini` makes, reads, streams, cancels and deletes them here.
Nothing below validates or moves a job by itself: that is `worker.flow`'s, as for `/v1/jobs`.
"""
