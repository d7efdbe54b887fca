"""Two programs written for Google's endpoint, and what they and the Gemini-compatible door say to each other."""
