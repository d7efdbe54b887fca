"""The JavaScript client, tried against a whole installation: `python -m tests.js`."""
