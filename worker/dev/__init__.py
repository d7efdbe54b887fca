"""Development aids: the Gemini simulator, the embedded Redis and the stack that runs everything on one machine.

Nothing in production imports this package.
"""
