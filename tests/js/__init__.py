"""JavaScript programs, tried against a whole installation: `python -m tests.js`."""
