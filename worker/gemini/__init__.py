"""The only home of google-genai and of the upstream's wire shapes: what goes out, what comes back, what it means.

`catalog` knows ids, `request` checks and builds a create, `client` calls through the SDK, `poller` reads thousands of
running interactions, `result` reads an end. Values are passed in, no settings, no database; foreign errors stop here.
"""
